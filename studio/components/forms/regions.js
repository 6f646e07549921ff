// Regions: boxes and points on the pictures, drawn, moved and resized with the mouse, a finger or the keyboard. Places are
// fractions of the picture.

const SLIP = 5; // px of the screen; what moves less is a point
const THIN = 0.002; // of the picture; what is thinner is a point
const STEP = 0.02; // of what is seen, for every press of an arrow
const CORNERS = [[0, 0], [1, 0], [0, 1], [1, 1]]; // of a box, as shares of its width and height
let cross = null; // {x, y, from, changes}: the hairs, while a place is marked by keyboard, or a mark is changed
let label = 0; // which one the next mark gets

const round4 = (number) => Math.round(number * 1e4) / 1e4;
const inside = (number) => Math.min(1, Math.max(0, number));
const markedIn = (pane) => fields.find((f) => f.question.form === 'regions' && f.thing.pane === pane);
const marksOf = (field) => answerOf(field) || [];

function layMarks() {
  for (const pane of root.querySelectorAll('.pane')) {
    const field = markedIn(Number(pane.dataset.pane));
    const nodes = field ? marksOf(field).map((region, number) => mark(field, region, number)) : [];
    if (cross && pane.closest('.large')) nodes.push(...hairs());
    pane.querySelector('.marks').replaceChildren(...nodes);
    pane.classList.toggle('drawable', Boolean(field && pane.closest('.large')));
    pane.classList.toggle('drawing', field !== undefined && field === at);
  }
}

function mark(field, region, number) {
  const node = make('div', `mark ${'w' in region ? 'box' : 'dot'} label-${labelOf(field, region)}`);
  node.classList.toggle('selected', field === at && field.selected === number);
  node.dataset.mark = number;
  node.append(make('i', '', number + 1), ...('w' in region ? CORNERS.map(grip) : []));
  return set(node, region);
}

function grip([x, y], number) {
  const node = set(make('b', `grip ${x === y ? 'falling' : 'rising'}`), { x, y });
  node.dataset.grip = number;
  return node;
}

function set(node, { x, y, w, h }) {
  for (const [name, value] of [['left', x], ['top', y], ['width', w], ['height', h]]) {
    if (value !== undefined) node.style[name] = `${100 * value}%`;
  }
  return node;
}

const labelOf = (field, region) => Math.max(0, field.question.choices.findIndex(([, value]) => value === region.label));

// From one corner to the other; a point where they are the same.
function regionOf(field, [x1, y1], [x2, y2]) {
  const [x, y] = [round4(Math.min(x1, x2)), round4(Math.min(y1, y2))];
  const [w, h] = [round4(Math.min(Math.abs(x1 - x2), 1 - x)), round4(Math.min(Math.abs(y1 - y2), 1 - y))];
  const where = w < THIN || h < THIN ? { x: round4(x1), y: round4(y1) } : { x, y, w, h };
  return field.question.choices.length ? { ...where, label: field.question.choices[label][1] } : where;
}

function addMark(field, region) {
  field.selected = marksOf(field).length;
  answer(field, [...marksOf(field), region]);
}

function changeMark(field, number, region) {
  field.selected = number;
  answer(field, marksOf(field).map((other, at) => (at === number ? region : other)));
}

function removeMark(field, number) {
  field.selected = null;
  answer(field, marksOf(field).filter((_, other) => other !== number));
}

function relabel(field, number) {
  if (number >= field.question.choices.length) return false;
  label = number;
  const marks = marksOf(field).map((region, other) => (
    other === field.selected ? { ...region, label: field.question.choices[number][1] } : region
  ));
  answer(field, marks);
  return true;
}

function selectBeside(field, by) {
  const count = marksOf(field).length;
  if (!count) return false;
  field.selected = field.selected === null ? (by > 0 ? 0 : count - 1) : (field.selected + by + count) % count;
  refresh(field);
  return true;
}

function letGo() {
  if (at.selected === null) return false;
  at.selected = null;
  refresh(at);
  return true;
}

// --- with the mouse or a finger ---

const spot = (pane, event) => {
  const box = pane.querySelector('.inner').getBoundingClientRect();
  return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
};

// The mark a press takes in hand: only the one that is selected, so that boxes can be drawn within boxes.
function takenBy(field, press) {
  const node = press.target.closest('.mark.selected');
  if (!node) return null;
  const number = Number(node.dataset.mark);
  const corner = press.target.closest('.grip')?.dataset.grip;
  return { number, region: marksOf(field)[number], corner: corner && CORNERS[corner] };
}

// Where a pointer has come → the region: a new one, or what is taken, moved along, or drawn from the corner opposite.
function gesture(field, taken, from) {
  if (!taken) return (to) => regionOf(field, from, to);
  const { region, corner } = taken;
  const { x, y, w = 0, h = 0 } = region;
  if (corner) {
    const fixed = [x + w * (1 - corner[0]), y + h * (1 - corner[1])];
    return (to) => labelled(regionOf(field, fixed, to), region);
  }
  const within = (start, size, by) => round4(Math.min(1 - size, Math.max(0, start + by)));
  return ([toX, toY]) => ({ ...region, x: within(x, w, toX - from[0]), y: within(y, h, toY - from[1]) });
}

const labelled = (region, { label: own }) => (own === undefined ? region : { ...region, label: own });

function drawable(pane, number) {
  pane.onpointerdown = (start) => {
    const field = markedIn(number);
    if (start.button || !field || (start.pointerType !== 'mouse' && at !== field)) return; // elsewhere a finger scrolls
    start.preventDefault();
    document.activeElement?.blur();
    cross = null;
    goTo(field, !sheet.spread); // the picture stays where it is
    pane.setPointerCapture(start.pointerId);
    const taken = takenBy(field, start);
    const region = gesture(field, taken, spot(pane, start));
    const ghost = pane.querySelector('.marks').appendChild(make('div', 'mark box ghost'));
    ghost.classList.add(`label-${taken ? labelOf(field, taken.region) : label}`);
    const slipped = (now) => Math.hypot(now.clientX - start.clientX, now.clientY - start.clientY) < SLIP;
    const over = () => { pane.onpointermove = pane.onpointerup = pane.onpointercancel = null; ghost.remove(); };
    pane.onpointermove = (now) => set(ghost, { w: 0, h: 0, ...region(spot(pane, now)) });
    pane.onpointercancel = over;
    pane.onpointerup = (end) => {
      over();
      const hit = slipped(end) && start.target.closest('.mark');
      if (hit) {
        field.selected = Number(hit.dataset.mark);
        refresh(field);
      } else if (taken) changeMark(field, taken.number, region(spot(pane, end)));
      else addMark(field, region(spot(pane, slipped(end) ? start : end)));
    };
  };
}

// --- with the keyboard ---

function aim() {
  const field = at?.question.form === 'regions' ? at : markedIn(shown);
  if (!field) return false;
  goTo(field, !sheet.spread);
  const { zoom, x, y } = $('.together').view || { zoom: 1, x: 0, y: 0 };
  cross = { x: x + 0.5 / zoom, y: y + 0.5 / zoom, from: null };
  refresh(field);
  return true;
}

function aimAnew() {
  const region = at.question.form === 'regions' && marksOf(at)[at.selected];
  if (!region) return false;
  const { x, y, w = 0, h = 0 } = region;
  cross = { x: x + w, y: y + h, from: [x, y], changes: at.selected };
  refresh(at);
  return true;
}

const AIMS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function aimKey(event) {
  const toward = AIMS[event.key];
  if (toward) {
    const step = (event.shiftKey ? 5 : 1) * STEP / ($('.together').view?.zoom || 1);
    cross.x = inside(cross.x + step * toward[0]);
    cross.y = inside(cross.y + step * toward[1]);
  } else if (event.key === 'Enter' || event.key === ' ') {
    if (cross.from) {
      const { from, x, y, changes } = cross;
      const region = regionOf(at, from, [x, y]);
      cross = null;
      if (changes === undefined) addMark(at, region);
      else changeMark(at, changes, labelled(region, marksOf(at)[changes]));
    } else cross.from = [cross.x, cross.y];
  } else if (event.key === 'Escape') cross = cross.from && cross.changes === undefined ? { ...cross, from: null } : null;
  else return false;
  refresh(at);
  return true;
}

function hairs() {
  const across = set(make('div', 'hair across'), { y: cross.y });
  const down = set(make('div', 'hair down'), { x: cross.x });
  if (!cross.from) return [across, down];
  const region = { w: 0, h: 0, ...regionOf(at, cross.from, [cross.x, cross.y]) };
  return [set(make('div', `mark box label-${label} ghost`), region), across, down];
}

// --- beside the pictures ---

function regionBody(field) {
  const node = make('div', 'places');
  const labels = make('div', 'options');
  field.question.choices.forEach(([text], number) => {
    const button = makeButton(`label-${number}`, undefined, () => { relabel(field, number); button.blur(); });
    button.append(make('span', '', text), make('kbd', '', number + 1));
    labels.append(button);
  });
  const draw = makeButton('draw', undefined, () => { draw.blur(); aim(); });
  draw.append(make('span', '', 'Mark a place'), make('kbd', '', 'R'));
  labels.append(draw);
  node.append(labels, make('ol', 'list'), make('p', 'hint'));
  return node;
}

// Made anew only where it is another: a press must find what it began on.
function listMarks(field) {
  const told = JSON.stringify([marksOf(field), field.selected]);
  if (field.listed === told) return;
  field.listed = told;
  field.node.querySelector('.list').replaceChildren(...marksOf(field).map((region, number) => chip(field, region, number)));
}

function hint(field) {
  if (cross) return cross.from ? 'Arrows to the other corner, then ↵. Here again is a point.' : 'Arrows to one corner, then ↵. Esc leaves.';
  if (field.selected !== null && marksOf(field)[field.selected]) return 'Drag it to move it, or by a corner.';
  return marksOf(field).length ? '' : 'Drag a box on the picture, or click a point.';
}

function chip(field, region, number) {
  const item = make('li', `label-${labelOf(field, region)}`);
  const remove = makeButton('', '×', (event) => { event.stopPropagation(); removeMark(field, number); });
  remove.ariaLabel = `Take mark ${number + 1} away`;
  item.classList.toggle('selected', field.selected === number);
  item.append(make('i', '', number + 1), make('span', '', region.label || ('w' in region ? 'box' : 'point')), remove);
  item.onclick = () => { field.selected = number; refresh(field); };
  return item;
}

WIDGETS.regions = {
  body: regionBody,
  refresh(field) {
    listMarks(field);
    field.node.querySelectorAll('.options button:not(.draw)').forEach((button, number) => {
      button.setAttribute('aria-pressed', String(number === label));
    });
    field.node.querySelector('.hint').textContent = hint(field);
    layMarks();
  },
  pick: relabel,
  beside: selectBeside,
  take: aim,
  clear(field) {
    if (marksOf(field).length) removeMark(field, field.selected ?? marksOf(field).length - 1);
    return true;
  },
  reset(begins) {
    cross = null;
    if (begins) label = 0;
  },
  press: (event) => cross !== null && aimKey(event),
  acts: { aim, aimAnew, letGo },
  onPane: drawable,
  drawOnPanes: layMarks,
};

// A sheet: what a project asks about one item, laid out from what Python sends (studio/annotate/sheet.py says what that is) and
// filled in by mouse or keyboard. What is filled in so far is `root.filled`, as JSON, for whoever sends it.
// Whatever a person or a model wrote is put in place with textContent only.

const root = element.querySelector('.sheet');
const $ = (selector) => root.querySelector(selector);
const ONE = ['choice', 'rating', 'best', 'preference'];
let sheet = null;
let answers = {}; // of a thing, by question
let fields = []; // every question about every thing, in their order
let shown = 0; // the picture that is large
let at = null; // the question that keys answer

function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) Object.assign(node, { textContent: text, dir: 'auto' });
  return node;
}

function receive(value) {
  root.hidden = !value;
  if (!value || value.key === sheet?.key) return;
  sheet = JSON.parse(JSON.stringify(value));
  ({ answers } = sheet);
  [shown, cross, label, at] = [0, null, 0, null];
  fields = sheet.things.flatMap((thing) => thing.questions.map((question, number) => (
    { thing, question, id: `${sheet.key}-${thing.key}-${number}`, selected: null, cursor: 0 }
  )));
  root.classList.toggle('pair', sheet.pair);
  layPictures();
  $('.asked').replaceChildren(...sheet.things.map(layThing), make('p', 'missing'));
  $('.missing').setAttribute('role', 'status');
  fill();
  goTo(firstMissing() || fields[0]);
}

// --- what was answered ---

const answerOf = (field) => answers[field.thing.key]?.[field.question.name];

function isEmpty(field) {
  const given = answerOf(field);
  return given === undefined || given === null || given === '' || given.length === 0;
}

function answer(field, value) {
  (answers[field.thing.key] ||= {})[field.question.name] = value;
  $('.missing').textContent = '';
  fill();
  refresh(field);
  root.dispatchEvent(new Event('change', { bubbles: true })); // it is kept soon
}

function fill() {
  root.filled = JSON.stringify(answers);
  root.querySelectorAll('.strip li').forEach((item, pane) => {
    const mine = fields.filter((field) => field.thing.pane === pane && field.question.required);
    item.classList.toggle('complete', mine.length > 0 && !mine.some(isEmpty));
  });
}

function firstMissing() {
  const begun = new Set(fields.filter((field) => !isEmpty(field)).map((field) => field.thing.key));
  return fields.find((field) => (
    field.question.required && isEmpty(field) && (field.thing.needed || begun.has(field.thing.key))
  ));
}

// Whether something is; then it is where the eye falls.
root.missing = () => {
  const field = firstMissing();
  if (!field) return false;
  goTo(field);
  const where = field.thing.pane === null || sheet.panes.length < 2 ? '' : ` (${sheet.panes[field.thing.pane].name})`;
  $('.missing').textContent = `Not answered yet: ${field.question.title}${where}`;
  return true;
};

// --- how it is laid out ---

function layThing(thing) {
  const node = make('div', 'thing');
  const several = sheet.things.length > 1;
  const name = thing.pane !== null ? sheet.panes[thing.pane].name : thing.key === 'all' ? 'All of it' : '';
  if (several && name && !(sheet.panes.length < 2 && thing.key !== 'all')) node.append(make('p', 'eyebrow', name));
  if (thing.said) node.append(make('p', 'said', thing.said));
  node.append(...fields.filter((field) => field.thing === thing).map(layField));
  thing.node = node;
  return node;
}

function layField(field) {
  const { question } = field;
  const node = make('div', `question ${question.form}`);
  const title = make('p', 'title');
  title.id = `title-${field.id}`;
  title.append(make('b', '', question.title), make('span', 'help', question.help));
  if (!question.required) title.append(make('span', 'optional', 'optional'));
  node.setAttribute('role', 'group');
  node.setAttribute('aria-labelledby', title.id);
  node.append(title, body(field));
  node.addEventListener('focusin', () => goTo(field));
  node.addEventListener('pointerdown', () => goTo(field));
  field.node = node;
  return node;
}

function body(field) {
  const { form, choices } = field.question;
  if (ONE.includes(form)) return options(field, 'radio');
  if (form === 'words' || (form === 'tags' && choices.length)) return options(field, 'checkbox');
  if (form === 'regions') return regions(field);
  return writing(field);
}

function options(field, type) {
  const row = make('div', 'options');
  field.question.choices.forEach(([text, value], number) => {
    const option = make('label', '');
    const input = make('input', '');
    Object.assign(input, { type, name: field.id, checked: isChosen(field, value) });
    input.onchange = () => choose(field, value);
    option.append(input, make('span', '', text));
    const told = field.question.form === 'words' || number > 8 || text.endsWith(number + 1); // its number, or that it has none
    if (!told) option.append(make('kbd', '', number + 1));
    row.append(option);
  });
  return row;
}

function isChosen(field, value) {
  const given = answerOf(field);
  return Array.isArray(given) ? given.includes(value) : given === value;
}

function writing(field) {
  const box = make('textarea', '');
  const tags = field.question.form === 'tags';
  const given = answerOf(field);
  Object.assign(box, { rows: 1, maxLength: 2000, placeholder: tags ? 'with commas between' : '' });
  box.value = tags ? (given || []).join(', ') : given || '';
  box.setAttribute('aria-label', field.question.title);
  box.oninput = () => {
    const words = box.value.split(/[,，、،]/).map((word) => word.trim()).filter(Boolean);
    answer(field, tags ? [...new Set(words)] : box.value);
  };
  return box;
}

function regions(field) {
  const node = make('div', 'places');
  const labels = make('div', 'options');
  field.question.choices.forEach(([text], number) => {
    const button = make('button', `label-${number}`);
    button.type = 'button';
    button.append(make('span', '', text), make('kbd', '', number + 1));
    button.onclick = () => { relabel(field, number); button.blur(); };
    labels.append(button);
  });
  const draw = make('button', 'draw');
  draw.type = 'button';
  draw.append(make('span', '', 'Mark a place'), make('kbd', '', 'R'));
  draw.onclick = () => { draw.blur(); aim(); };
  labels.append(draw);
  node.append(labels, make('ol', 'list'), make('p', 'hint'));
  return node;
}

function refresh(field) {
  const { form, choices } = field.question;
  if (form === 'regions') {
    listMarks(field);
    field.node.querySelectorAll('.options button:not(.draw)').forEach((button, number) => {
      button.setAttribute('aria-pressed', String(number === label));
    });
    field.node.querySelector('.hint').textContent = hint(field);
    layMarks();
    return;
  }
  field.node.querySelectorAll('.options label').forEach((option, number) => {
    option.querySelector('input').checked = isChosen(field, choices[number][1]);
    option.classList.toggle('cursor', field === at && !ONE.includes(form) && field.cursor === number);
  });
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
  const remove = make('button', '', '×');
  item.classList.toggle('selected', field.selected === number);
  item.append(make('i', '', number + 1), make('span', '', region.label || ('w' in region ? 'box' : 'point')), remove);
  item.onclick = () => { field.selected = number; refresh(field); };
  remove.type = 'button';
  remove.setAttribute('aria-label', `Take mark ${number + 1} away`);
  remove.onclick = (event) => { event.stopPropagation(); removeMark(field, number); };
  return item;
}

// --- where one is ---

function goTo(field) {
  if (!field || field === at) return;
  const before = at;
  const pane = field.thing.pane ?? shown;
  const same = before && pane === shown;
  [at, cross, shown] = [field, null, pane];
  for (const thing of sheet.things) thing.node.hidden = thing.pane !== null && thing.pane !== shown;
  for (const one of fields) one.node.classList.toggle('current', one === at);
  if (!same) layLarge();
  for (const one of fields) refresh(one);
  field.node.scrollIntoView({ block: 'nearest' });
}

function turnTo(pane) {
  const first = fields.find((field) => field.thing.pane === pane);
  if (first) return goTo(fields.find((field) => field.thing.pane === pane && isEmpty(field)) || first);
  shown = pane; // nothing is asked about it, but it can be looked at
  layLarge();
}

function step(by) {
  goTo(fields[Math.min(fields.length - 1, Math.max(0, fields.indexOf(at) + by))]);
}

// --- keys; each says whether it was one of the sheet's ---

function choose(field, value) {
  if (ONE.includes(field.question.form)) return answer(field, value);
  const given = answerOf(field) || [];
  const all = given.includes(value) ? given.filter((other) => other !== value) : [...given, value];
  answer(field, field.question.choices.map(([, one]) => one).filter((one) => all.includes(one)));
}

function pick(number) {
  const { form, choices } = at.question;
  if (form === 'regions') return relabel(at, number);
  if (number >= choices.length || form === 'words') return false;
  choose(at, choices[number][1]);
  if (ONE.includes(form)) step(1);
  return true;
}

function beside(by) {
  const { form, choices } = at.question;
  if (form === 'regions') return selectBeside(at, by);
  if (!choices.length) return false;
  const last = choices.length - 1;
  if (form === 'preference') answer(at, by < 0 ? 'left' : 'right');
  else if (ONE.includes(form)) {
    const now = choices.findIndex(([, value]) => value === answerOf(at));
    answer(at, choices[now < 0 ? (by > 0 ? 0 : last) : Math.min(last, Math.max(0, now + by))][1]);
  } else {
    at.cursor = Math.min(last, Math.max(0, at.cursor + by));
    refresh(at);
  }
  return true;
}

function take() {
  const { form, choices } = at.question;
  if (form === 'regions') return aim();
  if (!choices.length) return write(at);
  if (ONE.includes(form)) return false;
  choose(at, choices[at.cursor][1]);
  return true;
}

function clear() {
  if (at.question.form === 'regions') {
    if (!marksOf(at).length) return true;
    removeMark(at, at.selected ?? marksOf(at).length - 1);
  } else if (at.node.querySelector('textarea')) return write(at);
  else answer(at, null);
  return true;
}

function write(field) {
  const box = field?.node.querySelector('textarea');
  if (!box) return false;
  box.focus();
  box.setSelectionRange(box.value.length, box.value.length);
  return true;
}

function turn(by) {
  const pane = Math.min(sheet.panes.length - 1, Math.max(0, shown + by));
  if (!sheet.pair && pane !== shown) turnTo(pane);
  return true;
}

const ACTS = {
  pick, step, beside, take, clear, turn, aim, aimAnew, letGo,
  correct: () => write(fields.find(({ question, thing }) => question.form === 'text' && [null, shown].includes(thing.pane))),
};

// Whether the press was one of these.
root.press = (event) => {
  if (!sheet || !at) return false;
  if (cross && aimKey(event)) return true;
  const pressable = event.target.closest?.('button, a');
  if (pressable && (event.key === 'Enter' || event.key === ' ')) return false;
  return perform(event, 'sheet', ACTS);
};

watch('value', () => receive(props.value));
receive(props.value);

// The timeline of one trajectory: draws the rows that Python yields (studio/components/render.py says what a row is).
// It keeps what it has seen, eases text and patches onto the screen, and asks nothing of the server.
// Whatever a person or a model wrote is put in place with textContent only.

const CALM = matchMedia('(prefers-reduced-motion: reduce)').matches;
const LIVE_FRAMES = 10; // a live backlog is on the screen within so many frames
const REPLAY_MS = { text: 16, cell: 22, frame: 260, verdict: 700, segment: 260 }; // at pace 1

const root = element.querySelector('.timeline');
const $ = (selector) => root.querySelector(selector);
let state = fresh(null);
let asked = null; // the change that was asked for last, of which the next trajectory comes

function fresh(run) {
  return { run, seen: 0, gap: false, segments: {}, round: null, rounds: 0, answer: '', cells: 64, steps: [], at: 0, due: 0, paused: false, stored: new Map() };
}

// --- values from Python ---------------------------------------------------------------------------------------

function receive(value) {
  if (!value) return;
  if (value.instead) showInstead(value.instead);
  tell(value.notice || '', value.anyway);
  suggest(value.nearest, value.choices || [], value.replaced);
  // A refusal is not answered by the example below it, which would look like the answer.
  root.classList.toggle('refused', Boolean(value.anyway) && !$('.label').hidden);
  if (value.gone) gone(value.gone);
  if (value.watch) trigger('follow', { run: value.watch }); // it is being drawn elsewhere
  if (!value.run) return;
  if (value.run !== state.run) begin(value);
  if (value.receipt) remember(value.run, value.receipt);
  Object.assign(state, { whole: value.whole, blamed: value.blamed, reasons: value.reasons, guess: value.guess });
  $('.guess').textContent = value.guess || '';
  $('.guess').hidden = !value.guess;
  const skip = Math.max(0, state.seen - value.first);
  if (value.first > state.seen) state.gap = true;
  for (const row of value.rows.slice(skip)) state.steps.push(...steps(row));
  state.seen = Math.max(state.seen, value.first + value.rows.length);
  state.trajectory = value.trajectory;
  if (value.whole.length && (state.gap || CALM || state.pace === 0)) show(value.whole);
  requestAnimationFrame(play);
}

// What a module gives that is fetched where it is first needed; null where the studio does not answer.
const modules = {};

function fetched(name, tools) {
  const address = new URL(root.dataset[name], document.baseURI).href;
  return (modules[name] ||= import(address).then((module) => module.default(tools), () => null));
}

function begin(value) {
  state = fresh(value.run);
  state.pace = value.pace;
  state.deletable = value.deletable;
  state.change = value.pace === undefined ? asked : null;
  asked = null;
  state.follows = value.pace === undefined || value.follow;
  clear();
  $('.asked').hidden = true;
  state.unasked = value.unasked;
  $('.spoken').textContent = '';
  if (state.follows && root.getBoundingClientRect().top < 0) root.scrollIntoView({ behavior: CALM ? 'auto' : 'smooth' });
  $('.label').textContent = value.label || '';
  $('.label').hidden = !value.label;
  if (value.pace === undefined) showAddress(value.run);
}

function clear() {
  $('.rounds').replaceChildren();
  $('.ending').replaceChildren();
  $('.after').hidden = true;
  $('.player').hidden = true;
}

// Once it has ended and nothing is to be watched: all of it, as soon as its pictures are there.
function show(rows) {
  rewind();
  state.steps = rows.flatMap(steps);
  state.gap = false;
}

const KEPT = ['seen', 'pace', 'gap', 'steps', 'paused', 'trajectory', 'whole', 'blamed', 'reasons', 'guess', 'deletable', 'follows', 'change', 'unasked'];

function rewind() {
  const kept = Object.fromEntries(KEPT.map((name) => [name, state[name]]));
  state = Object.assign(fresh(state.run), kept);
  clear();
}

// --- rows become steps ----------------------------------------------------------------------------------------

function steps(row) {
  if (row.is === 'text') return [...row.text.match(/[\s\S]{1,2}/g) || []].map((bit) => ({ act: () => write(row, bit), takes: 'text' }));
  if (row.is === 'cells') return cells(row);
  if (row.is === 'frame') return [frameStep(row)];
  if (row.is === 'picture') {
    const image = row.png ? load(row.png) : finishedPicture(row.segment);
    return [{ image, act: () => picture(row.segment, image) }];
  }
  const acts = { start, segment, progress, forced, verdict, done, end };
  return [{ act: () => acts[row.is](row), takes: row.is }];
}

function cells(row) {
  const image = row.png ? load(row.png) : finishedPicture(row.segment);
  return Array.from({ length: row.count }, (_, i) => ({ image, act: () => cell(row, image, i), takes: 'cell' }));
}

// `part`: of the picture's time.
function frameStep(row) {
  const image = load(row.png);
  const before = state.steps.findLast((step) => step.segment === row.segment);
  return { image, segment: row.segment, share: row.share, part: row.share - (before ? before.share : 0), act: () => frame(row, image), takes: 'frame' };
}

function load(png) {
  const image = new Image();
  image.src = png;
  return image;
}

// The finished picture of a replay, which its cells are cut from.
function finishedPicture(segment) {
  if (!state.stored.has(segment)) {
    const row = state.whole.find((other) => other.is === 'picture' && other.segment === segment);
    state.stored.set(segment, load(row.png));
  }
  return state.stored.get(segment);
}

function start(row) {
  state.cells = row.cells || 64;
  state.coded = row.cells > 0;
  state.most = row.rounds;
  state.prompt = row.prompt;
  state.id = row.id;
  $('.asked').hidden = false;
  $('.pace').hidden = state.pace !== undefined || CALM;
  $('.prompt').textContent = `“${row.prompt}”`;
  $('.meta').textContent = [`seed ${row.seed}`, row.checkpoint, row.contexts].filter(Boolean).join(' · ');
}

function segment(row) {
  const begins = row.kind === 'thought' || row.kind === 'source' || (row.kind === 'image' && !(state.round && state.last === 'thought'));
  if (begins || !state.round) addRound(row.kind);
  state.last = row.kind;
  const part = { kind: row.kind, text: '' };
  state.segments[row.segment] = part;
  if (row.kind === 'thought') {
    part.node = put(make('p', 'thought writing', ''));
    part.blank = put(make('div', 'picture unfinished'));
  }
  if (row.kind === 'image' || row.kind === 'source') addPicture(part, state.planned);
  state.planned = row.kind === 'thought' ? part : null;
  if (row.kind === 'reflection') $('.ending').replaceChildren();
}

function put(node) {
  state.round.append(node);
  return node;
}

function addRound(kind) {
  state.rounds += kind === 'source' ? 0 : 1;
  state.round = make('li', 'round');
  const head = make('h2', 'head');
  if (kind !== 'source') head.append(make('span', 'number', state.rounds));
  state.given ||= kind === 'source';
  head.append(make('span', 'name', kind === 'source' ? 'Your image' : state.given ? 'Edited' : state.rounds === 1 ? 'Draft' : 'Revision'));
  state.progress = make('span', 'progress', kind === 'thought' ? 'planning' : '');
  head.append(state.progress);
  state.round.append(head);
  $('.rounds').append(state.round);
  follow();
}

// For those who hear the page: what somebody started, not what plays by itself.
function say(text) {
  if (!state.unasked) $('.spoken').textContent = text;
}

// The picture that is spoken of.
function which() {
  return state.rounds ? `Drawing ${state.rounds}` : 'Your image';
}

function addPicture(part, thought) {
  part.side = Math.round(Math.sqrt(state.cells)) || 8;
  part.frame = (thought && (thought.frame || thought.blank)) || put(make('div', 'picture unfinished'));
  part.frame.style.setProperty('--side', part.side);
  part.canvas = make('canvas', '');
  part.canvas.setAttribute('role', 'img');
  part.canvas.setAttribute('aria-label', `${which()} of “${state.prompt || ''}”, in progress`);
  part.pen = make('i', 'pen');
  part.frame.prepend(part.canvas, part.pen);
  part.canvas.width = part.canvas.height = 0;
  part.head = state.progress;
  point(part, 0);
  part.pen.hidden ||= !state.coded;
  follow();
}

const ABOUT = 330; // pixels that a round needs above and below its square picture, down to the reason
const BESIDE = 450; // and where the verdict stands beside it
const MARGIN = 12;

// What somebody asked for is brought into view, with the verdict to come; two side by side leave the page where it is.
function follow() {
  if (!state.follows || root.closest('.side')) return;
  const { top, width } = state.round.getBoundingClientRect();
  const beside = getComputedStyle(state.round).gridTemplateColumns.includes(' '); // the verdict, and not below
  const below = top + (beside ? BESIDE : width + ABOUT) - innerHeight + covered();
  if (below > 0) scrollBy({ top: Math.max(0, Math.min(below, top - MARGIN)), behavior: CALM ? 'auto' : 'smooth' });
}

// Of the window's lower end: on a telephone the prompt stands there.
function covered() {
  const ask = document.querySelector('.ask');
  return ask && getComputedStyle(ask).position === 'fixed' ? ask.offsetHeight : 0;
}

function point(part, index) {
  part.pen.hidden = index >= state.cells;
  place(part.pen, index % part.side, Math.floor(index / part.side), part.side);
}

function place(node, column, row, side) {
  node.style.left = `${(100 * column) / side}%`;
  node.style.top = `${(100 * row) / side}%`;
}

function resize(part, side) {
  if (part.canvas.width === side) return;
  part.canvas.width = part.canvas.height = side;
  part.frame.classList.toggle('smooth', side > 128);
}

function cell(row, image, i) {
  const part = state.segments[row.segment];
  if (!part || !part.canvas || !image.naturalWidth) return;
  const size = image.naturalHeight / (row.png ? 1 : part.side);
  const index = row.start + i;
  const [left, top] = [(index % part.side) * size, Math.floor(index / part.side) * size];
  const from = row.png ? [i * size, 0] : [left, top];
  resize(part, size * part.side);
  part.canvas.getContext('2d').drawImage(image, ...from, size, size, left, top, size, size);
  count(part, index + 1);
}

function count(part, drawn) {
  part.began ||= { drawn, at: performance.now() };
  part.head.textContent = `${drawn} of ${state.cells}${timeLeft(part, drawn)}`;
  point(part, drawn);
}

// For a live drawing that takes long: as long as the cells so far took, for all rounds that are allowed.
function timeLeft(part, drawn) {
  const each = (performance.now() - part.began.at) / (drawn - part.began.drawn || Infinity);
  const seconds = (each * (state.cells * (state.most - state.rounds + 1) - drawn)) / 1000;
  return state.pace === undefined && seconds > 10 ? ` · ≤ ${Math.round(seconds)} s` : '';
}

function progress(row) {
  const part = state.segments[row.segment];
  if (part && part.canvas) count(part, row.count);
}

function picture(index, image) {
  const part = state.segments[index];
  if (!part || !part.canvas) return;
  state.png = image.src;
  paint(part, image);
}

function paint(part, image) {
  const draw = () => {
    resize(part, image.naturalWidth);
    part.canvas.getContext('2d').drawImage(image, 0, 0);
  };
  if (image.complete) draw(); else image.onload = draw;
}

// A stage of an image without codes, or what there is of one that was stopped: its cells were counted.
function frame(row, image) {
  const part = state.segments[row.segment];
  if (!part || !part.canvas) return;
  paint(part, image);
  if (!part.began) part.head.textContent = `${Math.round(100 * row.share)} %`;
}

function verdict(row) {
  const part = state.segments[row.segment];
  if (!part) return;
  const yes = row.answer === 'yes';
  const line = make('p', `verdict ${yes ? 'yes' : 'no'}`);
  const sign = make('span', 'sign', yes ? '✓' : '✗');
  sign.setAttribute('aria-hidden', 'true');
  part.odds = make('span', 'p', `p(yes) ${row.p.toFixed(2)}`);
  part.odds.title = 'How likely a yes was; the verdict is drawn by lot at this probability';
  line.append(sign, make('span', 'word', yes ? 'Yes' : 'No'), part.odds);
  if (yes && state.refused && state.refused !== state.png && !state.aha) {
    state.aha = true;
    line.append(make('span', 'aha', 'aha moment'));
  }
  state.refused = yes ? null : state.png; // the drawing that the model itself said no to
  state.answer = row.answer;
  put(line);
  part.node = put(make('p', 'reason writing', ''));
  say(`${which()}: the model says ${row.answer}.`);
}

function write(row, bit) {
  const part = state.segments[row.segment];
  if (!part || !part.node) return;
  part.text += bit;
  if (row.person) byPerson(part);
  const reason = part.kind === 'reflection';
  if (reason && row.person) overrule(part);
  part.node.textContent = reason ? reasonOf(part.text) : part.text.trimStart().replace(/; /g, ';\n');
  if (!reason) part.node.scrollTop = part.node.scrollHeight;
  if (!reason) outline(part);
}

// A person has answered in the model's place: that is no aha moment of the model.
function overrule(part) {
  state.refused = null;
  part.overruled = true;
  const mark = part.odds.parentElement.querySelector('.aha');
  if (!mark) return;
  mark.remove();
  state.aha = false;
}

function byPerson(part) {
  part.node.classList.add('by-person');
  if (part.odds && !part.odds.dataset.person) {
    part.odds.dataset.person = 'yes';
    part.odds.textContent = `the model: ${part.odds.textContent}`;
  }
}

// What follows the verdict.
function reasonOf(text) {
  return text.replace(/^\s*(yes|no)\b[\s,.:]*/i, '');
}

// The embedded world's thoughts name places among its cells.
const PLACED = /([a-z]+) ([a-z]+) at ([0-6]) ([0-6])\b/g;
const CELLS = 8; // per side

// Each object is outlined where it is to stand, before a patch is drawn.
function outline(part) {
  const named = [...part.text.matchAll(PLACED)];
  for (const [, colour, noun, column, row] of named.slice(part.outlined || 0)) {
    part.frame ||= part.blank || put(make('div', 'picture unfinished'));
    const box = make('i', 'planned', `${colour} ${noun}`);
    place(box, column, row, CELLS);
    part.frame.append(box);
  }
  part.outlined = named.length;
}

function done(row) {
  const part = state.segments[row.segment];
  if (!part) return;
  if (part.node) part.node.classList.remove('writing');
  if (part.kind === 'thought') part.node.scrollTop = 0;
  if (part.kind === 'reflection') {
    say(`${which()}: ${state.answer}. ${part.node.textContent}`);
    blame();
    follow(); // the page may have been too short for it before
  }
  if (part.kind === 'thought') state.progress.textContent = '';
  if (!part.canvas) return;
  part.frame.classList.remove('unfinished');
  part.pen.hidden = true;
  part.head.textContent = '';
  part.canvas.setAttribute('aria-label', `${which()} of “${state.prompt || ''}”`);
  $('.ending').replaceChildren(make('span', 'looking', 'Looking at the drawing…'));
}

function tell(text, anyway) {
  $('.notice > span').textContent = text;
  $('.notice').hidden = !text;
  $('.anyway').textContent = anyway || '';
  $('.anyway').hidden = !anyway;
  if (!text) return;
  root.querySelectorAll('[inert]').forEach((node) => { node.inert = false; });
  $('.notice').scrollIntoView({ block: 'nearest', behavior: CALM ? 'auto' : 'smooth' });
}

// The nearest prompt that it has learnt, and other things in the place of what it has not: each is drawn at once.
function suggest(nearest, choices, replaced) {
  $('.nearest').hidden = !nearest;
  $('.choices').hidden = !nearest || !choices.length;
  if (!nearest) return;
  $('.nearest').textContent = `Draw “${nearest}”`;
  $('.nearest').onclick = () => askFor(nearest);
  const chips = choices.map(([noun, prompt]) => makeButton('choice', noun, () => askFor(prompt)));
  const words = make('bdi', '', replaced ? `instead of “${replaced}”:` : 'or instead:');
  $('.choices').replaceChildren(words, ...chips);
}

function askFor(prompt) {
  const box = document.querySelector('#prompt textarea');
  box.value = prompt;
  box.dispatchEvent(new Event('input', { bubbles: true }));
  tell('');
  setTimeout(() => pressButton('draw'), 50); // Gradio hears of the text first
}

// Where it was opened from cards beside it, it can be closed again.
function close() {
  state = fresh(null);
  clear();
  tell('');
  $('.asked').hidden = true;
  const query = new URLSearchParams(location.search);
  query.delete('run');
  history.pushState({}, '', location.pathname + (String(query) && `?${query}`));
}

$('.how').onclick = () => $('.how').setAttribute('aria-expanded', String(root.classList.toggle('thinking')));
$('.close').hidden = !root.closest('#viewer');
$('.close').onclick = close;
$('.anyway').onclick = () => { tell(''); trigger('anyway'); };
watch('value', () => receive(props.value));
receive(props.value);

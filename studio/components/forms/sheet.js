// A sheet: questions about one item, laid out from what Python sends (sheet.py says what that is) and filled in by mouse or
// keyboard. Each form has a widget of its own (options.js says what one is); this file comes last and has the state.
// Whatever a person or a model wrote is put in place with textContent only.
// After practice it shows what was right (`value.right`), and has `taught`.
//
// For the page around it the node has: `filled`, the answers as JSON; `missing()`, whether something required is, which is
// then shown; `press(event)`, whether a key was one of the sheet's; `pick(name, number)` and `write(name, everything)`, to
// answer a question by its name; `suggest(name, number)`, to take a suggested text; `value` and `answer(value)` of the question that one is at; `dataset.key`, of the showing.
// An event `change` bubbles after each answer.

const root = element.querySelector('.sheet');
const $ = (selector) => root.querySelector(selector);
let sheet = null;
let answers = {}; // of a thing, by question
let fields = []; // every question about every thing, in their order
let shown = 0; // the picture that is large
let at = null; // the question that keys answer

function receive(value) {
  root.hidden = !value;
  if (!value) return;
  if (value.key === sheet?.key) {
    if (value.right) teach(value.right);
    return;
  }
  sheet = JSON.parse(JSON.stringify(value));
  ({ answers } = sheet);
  root.dataset.key = sheet.key;
  [shown, at] = [0, null];
  reset(true);
  fields = sheet.things.flatMap((thing) => thing.questions.map((question, number) => (
    { thing, question, id: `${sheet.key}-${thing.key}-${number}`, selected: null, cursor: 0 }
  )));
  root.className = `sheet ${sheet.layout} ${sheet.pair ? 'pair' : ''}`;
  layPictures();
  $('.asked').replaceChildren(...sheet.things.map(layThing), make('p', 'missing'));
  $('.missing').setAttribute('role', 'status');
  fill();
  goTo(firstMissing() || fields[0], false);
  root.taught = false;
  if (value.right) teach(value.right);
}

// After practice: the right answers are ringed, with the reason why; nothing can be answered any more.
function teach(right) {
  for (const field of fields) {
    const known = right[field.thing.key]?.[field.question.name];
    if (!known) continue;
    const wanted = [known.value].flat();
    field.node.classList.add(known.right ? 'is-right' : 'is-wrong');
    field.node.querySelectorAll('.options label').forEach((option, number) => {
      option.classList.toggle('wanted', wanted.includes(field.question.choices[number][1]));
    });
    if (known.why) field.node.append(make('p', 'why', known.why));
  }
  root.querySelectorAll('.asked :is(input, textarea, button)').forEach((node) => { node.disabled = true; });
  root.classList.add('explained');
  root.taught = true;
}

function reset(begins) {
  for (const widget of Object.values(WIDGETS)) widget.reset?.(begins);
}

// --- what was answered ---

const answerOf = (field) => answers[field.thing.key]?.[field.question.name];

function isEmpty(field) {
  const given = answerOf(field);
  return given === undefined || given === null || given === '' || given.length === 0;
}

// Whether a question is asked: not where another one's answer ends it. What it was answered comes back with it.
const isAsked = ({ thing, question: { unless } }) => (
  !unless || answers[thing.key]?.[unless.question] !== unless.answer
);

function answersToWhatIsAsked() {
  const left = fields.filter((field) => !isAsked(field));
  return Object.fromEntries(Object.entries(answers).map(([key, given]) => [key, Object.fromEntries(
    Object.entries(given).filter(([name]) => !left.some(({ thing, question }) => thing.key === key && question.name === name)),
  )]));
}

function answer(field, value) {
  const before = answerOf(field);
  (answers[field.thing.key] ||= {})[field.question.name] = value;
  fields.filter((each) => isWordedBy(each, field)).forEach((each) => keepApart(each, before, value));
  $('.missing').textContent = '';
  fill();
  refresh(field);
  root.dispatchEvent(new Event('change', { bubbles: true }));
}

function fill() {
  root.filled = JSON.stringify(answersToWhatIsAsked());
  root.value = at ? answerOf(at) ?? '' : '';
  root.querySelectorAll('.strip li').forEach((item, pane) => {
    const mine = fields.filter((field) => field.thing.pane === pane && field.question.required);
    item.classList.toggle('complete', mine.length > 0 && !mine.some((field) => isEmpty(field) || WIDGETS[field.question.form].isPartial?.(field)));
  });
  fields.filter((field) => field.question.otherwise).forEach(entitle);
  for (const field of fields) field.node.hidden = !isAsked(field);
}

function firstMissing() {
  const begun = new Set(fields.filter((field) => !isEmpty(field)).map((field) => field.thing.key));
  return fields.filter(isAsked).find((field) => (
    WIDGETS[field.question.form].isPartial?.(field)
    || (field.question.required && isEmpty(field) && (field.thing.needed || begun.has(field.thing.key)))
  ));
}

root.missing = () => {
  const field = firstMissing();
  if (!field || root.taught) return false;
  goTo(field);
  const where = field.thing.pane === null || sheet.panes.length < 2 ? '' : ` (${sheet.panes[field.thing.pane].name})`;
  $('.missing').textContent = `Not answered yet: ${field.question.title}${where}`;
  return true;
};

// --- how it is laid out ---

function layThing(thing) {
  const node = make('div', 'thing');
  if (thing.name) node.append(make('p', 'eyebrow', thing.name));
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
  title.append(make('b', ''), make('span', 'help'));
  if (!question.required) title.append(make('span', 'optional', 'optional'));
  node.dataset.question = question.name;
  node.setAttribute('role', 'group');
  node.setAttribute('aria-labelledby', title.id);
  field.node = node;
  node.append(title, WIDGETS[question.form].body(field));
  node.addEventListener('focusin', () => goTo(field));
  node.addEventListener('pointerdown', () => goTo(field));
  entitle(field);
  return node;
}

// The words of a question, which may be others once another one of the same thing has a certain answer.
function entitle({ thing, question, node }) {
  const { otherwise } = question;
  const isOther = otherwise && answers[thing.key]?.[otherwise.question] === otherwise.answer;
  const { title, help } = isOther ? otherwise : question;
  node.querySelector('.title b').textContent = title;
  node.querySelector('.title .help').textContent = help;
}

const isWordedBy = ({ thing, question }, field) => (
  thing === field.thing && question.otherwise?.question === field.question.name
);

// Another answer to the question that words this one: what was written for the answer before comes back with it, and what
// was written for this one, else the original, takes its place. What was written before either was chosen stays.
function keepApart(field, before, now) {
  if (before === now || [before, now].some((each) => each === undefined || each === null)) return;
  field.written = { ...field.written, [before]: answerOf(field) };
  answers[field.thing.key][field.question.name] = field.written[now] ?? null;
  WIDGETS[field.question.form].rewrite?.(field);
}

function refresh(field) {
  WIDGETS[field.question.form].refresh(field);
}

// --- where one is ---

function goTo(field, scrolls = true) {
  if (!field || field === at) return;
  const pane = field.thing.pane ?? shown;
  const isSame = at && pane === shown;
  reset(false);
  [at, shown] = [field, pane];
  for (const thing of sheet.things) thing.node.hidden = !sheet.spread && thing.pane !== null && thing.pane !== shown;
  for (const each of fields) each.node.classList.toggle('current', each === at);
  if (!isSame) layLarge();
  fields.forEach(refresh);
  if (scrolls) field.node.scrollIntoView({ block: 'nearest' });
}

function step(by) {
  const open = fields.filter(isAsked);
  goTo(open[Math.min(open.length - 1, Math.max(0, open.indexOf(at) + by))]);
}

// --- keys; each says whether it was one of the sheet's ---

const ofCurrent = (name) => (...given) => WIDGETS[at.question.form][name](at, ...given);
const ACTS = Object.assign(
  { step, turn },
  Object.fromEntries(['pick', 'beside', 'take', 'clear'].map((name) => [name, ofCurrent(name)])),
  ...Object.values(WIDGETS).map((widget) => widget.acts),
);
const named = (name) => fields.find((field) => field.question.name === name);

root.pick = (name, number) => {
  const field = named(name);
  return Boolean(field) && isAsked(field) && WIDGETS[field.question.form].pick(field, number);
};
root.write = (name, everything) => write(named(name), everything);
root.answer = (value) => answer(at, value);

root.suggest = (name, number) => {
  const suggestion = named(name)?.node.querySelectorAll('.suggestions button')[number];
  suggestion?.click();
  return Boolean(suggestion);
};

root.press = (event) => {
  if (!sheet || !at || root.taught) return false;
  if (WIDGETS[at.question.form].press?.(event)) return true;
  const pressable = event.target.closest?.('button, a');
  if (pressable && (event.key === 'Enter' || event.key === ' ')) return false;
  return perform(event, 'sheet', ACTS);
};

watch('value', () => receive(props.value));
receive(props.value);

// Facts: those of the prompt as rows, each with three answers, and below them the verdict that follows, which can be
// overruled. A digit leads to a row; Y, N and X answer it and lead to the next that is not answered (SHORTCUTS.facts).
const STATES = [['yes', 'Holds', 'Y'], ['no', 'Does not', 'N'], ['unclear', 'Cannot tell', 'X']];
const VERDICTS = [['yes', 'Fits', 'Y'], ['no', 'Does not fit', 'N']];

const checklistOf = (field) => answerOf(field) || { verdict: null, facts: field.question.choices.map(() => null) };

function verdictThatFollows(states) {
  if (states.includes('no')) return 'no';
  return states.every((state) => state === 'yes') ? 'yes' : null;
}

// An answer to one row; behind the facts, to the verdict. An overruled verdict stays.
function tick(field, row, state) {
  const { facts, verdict } = checklistOf(field);
  if (row === facts.length) return answer(field, { facts, verdict: state });
  const states = facts.map((before, number) => (number === row ? state : before));
  const overruled = verdict !== null && verdict !== verdictThatFollows(facts);
  return answer(field, { facts: states, verdict: overruled ? verdict : verdictThatFollows(states) });
}

function tickAtCursor(state) {
  const field = at;
  const row = field.cursor;
  const last = field.question.choices.length;
  if (row === last && state === 'unclear') return false;
  tick(field, row, state);
  const open = checklistOf(field).facts.findIndex((each, number) => each === null && number > row);
  const anyOpen = open < 0 ? checklistOf(field).facts.indexOf(null) : open;
  goToRow(field, row === last ? last : anyOpen < 0 ? last : anyOpen);
  return true;
}

function goToRow(field, row) {
  field.cursor = row;
  WIDGETS.facts.refresh(field);
  field.node.querySelectorAll('.fact')[row].scrollIntoView({ block: 'nearest' });
}

function factRow(field, text, states, row) {
  const line = make('div', 'fact');
  const options = make('div', 'options');
  options.setAttribute('role', 'radiogroup');
  options.setAttribute('aria-label', text);
  for (const [value, name, key] of states) {
    const option = make('label', `state ${value}`);
    const input = make('input', '');
    Object.assign(input, { type: 'radio', name: `${field.id}-${row}`, value, ariaLabel: name });
    input.onchange = () => { field.cursor = row; tick(field, row, value); };
    option.append(input, make('span', '', name), make('kbd', '', key));
    options.append(option);
  }
  line.append(make('kbd', 'row', row < 9 ? row + 1 : ''), make('span', 'text', text), options);
  return line;
}

function moveRow(by) {
  const row = at.cursor + by;
  if (row < 0 || row > at.question.choices.length) return false;
  goToRow(at, row);
  return true;
}

const FACT_ACTS = { tick: tickAtCursor, moveRow };

WIDGETS.facts = {
  body(field) {
    const table = make('div', 'facts-table');
    const facts = field.question.choices.map(([text], row) => factRow(field, text, STATES, row));
    const verdict = factRow(field, 'So the picture', VERDICTS, facts.length);
    verdict.classList.add('so');
    table.append(...facts, verdict);
    return table;
  },
  refresh(field) {
    const { facts, verdict } = checklistOf(field);
    field.node.querySelectorAll('.fact').forEach((line, row) => {
      const state = row < facts.length ? facts[row] : verdict;
      line.classList.toggle('cursor', field === at && row === field.cursor);
      line.querySelectorAll('input').forEach((input) => { input.checked = input.value === state; });
    });
  },
  isPartial(field) {
    const given = answerOf(field);
    return Boolean(given) && (given.verdict === null || given.facts.includes(null));
  },
  pick(field, row) {
    if (row > field.question.choices.length) return false;
    goToRow(field, row);
    return true;
  },
  beside(field, by) {
    const { facts, verdict } = checklistOf(field);
    const states = (field.cursor < facts.length ? STATES : VERDICTS).map(([value]) => value);
    const now = states.indexOf(field.cursor < facts.length ? facts[field.cursor] : verdict);
    tick(field, field.cursor, states[now < 0 ? (by > 0 ? 0 : states.length - 1) : Math.min(states.length - 1, Math.max(0, now + by))]);
    return true;
  },
  take() { step(1); return true; },
  clear(field) { answer(field, null); goToRow(field, 0); return true; },
  press: (event) => perform(event, 'facts', FACT_ACTS),
};

// Widgets by the name of their form. A widget says what its field looks like and what the keys do to it:
//   body(field)            the node in which it is answered
//   refresh(field)         shows the answer again, after any change
//   pick(field, number)    a digit, counted from 0; whether it meant something, like all of these
//   beside(field, by)      an arrow to the left (-1) or to the right (1)
//   take(field)            Enter or Space
//   clear(field)           Delete
//   isPartial(field)       where an answer can be half: whether it is
// and, where it needs them: reset(begins), when another field is gone to, or another sheet begins; press(event), before any shortcut is looked
// for; acts, more shortcuts by name (keys.js); onPane(pane, number), drawOnPanes(), for what lies on the pictures.
const WIDGETS = {};

// What widgets of options that lie side by side have in common: of them one is chosen, or some.

function optionRow(field, type, isNumbered) {
  const row = make('div', 'options');
  field.question.choices.forEach(([text, value], number) => {
    const option = make('label', '');
    const input = make('input', '');
    Object.assign(input, { type, name: field.id, value, checked: isChosen(field, value), ariaLabel: text });
    input.onchange = () => WIDGETS[field.question.form].choose(field, value);
    option.append(input, make('span', '', text));
    if (isNumbered && number < 9 && !text.endsWith(number + 1)) option.append(make('kbd', '', number + 1));
    row.append(option);
  });
  return row;
}

function isChosen(field, value) {
  const given = answerOf(field);
  return Array.isArray(given) ? given.includes(value) : given === value;
}

function refreshOptions(field, cursor) {
  field.node.querySelectorAll('.options label').forEach((option, number) => {
    option.querySelector('input').checked = isChosen(field, field.question.choices[number][1]);
    option.classList.toggle('cursor', number === cursor);
  });
}

const ONE_OF = {
  body: (field) => optionRow(field, 'radio', true),
  refresh: (field) => refreshOptions(field, null),
  choose: answer,
  pick(field, number) {
    if (number >= field.question.choices.length) return false;
    answer(field, field.question.choices[number][1]);
    step(1);
    return true;
  },
  beside(field, by) {
    const { choices } = field.question;
    const last = choices.length - 1;
    const now = choices.findIndex(([, value]) => value === answerOf(field));
    answer(field, choices[now < 0 ? (by > 0 ? 0 : last) : Math.min(last, Math.max(0, now + by))][1]);
    return true;
  },
  take: () => false,
  clear(field) { answer(field, null); return true; },
};

const SOME_OF = {
  body: (field) => optionRow(field, 'checkbox', true),
  refresh: (field) => refreshOptions(field, field === at ? field.cursor : null),
  choose(field, value) {
    const given = answerOf(field) || [];
    const all = given.includes(value) ? given.filter((other) => other !== value) : [...given, value];
    answer(field, field.question.choices.map(([, each]) => each).filter((each) => all.includes(each)));
  },
  pick(field, number) {
    if (number >= field.question.choices.length) return false;
    SOME_OF.choose(field, field.question.choices[number][1]);
    return true;
  },
  beside(field, by) {
    field.cursor = Math.min(field.question.choices.length - 1, Math.max(0, field.cursor + by));
    SOME_OF.refresh(field);
    return true;
  },
  take(field) {
    SOME_OF.choose(field, field.question.choices[field.cursor][1]);
    return true;
  },
  clear(field) { answer(field, null); return true; },
};

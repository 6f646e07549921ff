// What a person writes. `question.original` is what stands there until somebody writes something else.

function textBox(field, read, show) {
  const box = make('textarea', '');
  Object.assign(box, { rows: 1, maxLength: 2000, value: show(answerOf(field)), ariaLabel: field.question.title });
  box.oninput = () => answer(field, read(box.value));
  return box;
}

function write(field, everything = false) {
  const box = field?.node.querySelector('textarea');
  if (!box) return false;
  box.focus();
  box.setSelectionRange(everything ? 0 : box.value.length, box.value.length);
  return true;
}

const WRITING = {
  refresh: () => {}, // what is being written is never changed under the hand
  pick: () => false,
  beside: () => false,
  take: (field) => write(field),
  clear: (field) => write(field),
};

WIDGETS.text = {
  ...WRITING,
  body: (field) => textBox(field, (text) => text, (given) => given ?? field.question.original ?? ''),
  acts: { correct: () => write(fields.find((f) => f.question.form === 'text' && [null, shown].includes(f.thing.pane))) },
};

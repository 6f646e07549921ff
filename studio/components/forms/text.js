// What a person writes. `question.original` is what stands there until somebody writes something else;
// `question.suggestions` are texts to choose from.

const writtenOrOriginal = (field) => answerOf(field) ?? field.question.original ?? '';

function textBox(field, read, show) {
  const box = make('textarea', '');
  Object.assign(box, { rows: 1, maxLength: 2000, value: show(answerOf(field)), ariaLabel: field.question.title });
  box.oninput = () => answer(field, read(box.value));
  return box;
}

function suggestionRow(field, box) {
  const row = make('div', 'suggestions');
  row.append(...field.question.suggestions.map((words, number) => {
    const choose = () => {
      box.value = words;
      answer(field, words);
    };
    const suggestion = makeButton('', words.charAt(0).toUpperCase() + words.slice(1), choose);
    suggestion.append(make('kbd', '', number + 1));
    return suggestion;
  }));
  return row;
}

function textBody(field) {
  const box = textBox(field, (text) => text, () => writtenOrOriginal(field));
  if (!field.question.suggestions?.length) return box;
  const body = make('div', 'written');
  body.append(box, suggestionRow(field, box));
  return body;
}

function write(field, everything = false) {
  const box = field?.node.querySelector('textarea');
  if (!box) return false;
  box.focus();
  box.setSelectionRange(everything ? 0 : box.value.length, box.value.length);
  return true;
}

const WRITING = {
  rewrite(field) { // another text takes its place
    field.node.querySelector('textarea').value = writtenOrOriginal(field);
  },
  refresh: () => {}, // what is being written is never changed under the hand
  pick: () => false,
  beside: () => false,
  take: (field) => write(field),
  clear: (field) => write(field),
};

WIDGETS.text = {
  ...WRITING,
  body: textBody,
  acts: { correct: () => write(fields.find((f) => f.question.form === 'text' && [null, shown].includes(f.thing.pane))) },
};

// Tags: those there are to choose from, or words of one's own with commas between.

const tagsOf = (text) => [...new Set(text.split(/[,，、،]/).map((word) => word.trim()).filter(Boolean))];

function freeTags(field) {
  const box = textBox(field, tagsOf, (given) => (given || []).join(', '));
  box.placeholder = 'with commas between';
  return box;
}

const tagWidget = (field) => (field.question.choices.length ? SOME_OF : WRITING);

WIDGETS.tags = {
  body: (field) => (field.question.choices.length ? SOME_OF.body(field) : freeTags(field)),
  choose: SOME_OF.choose,
  ...Object.fromEntries(['refresh', 'pick', 'beside', 'take', 'clear'].map((name) => (
    [name, (field, ...given) => tagWidget(field)[name](field, ...given)]
  ))),
};

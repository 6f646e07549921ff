// The boxes of the text questions about a pair, from what `boxes` of handlers.py sends. A pair that is shown anew gets new
// boxes, so that nothing stays that was typed about another one. What people wrote is put in place as text only.

const place = element.firstElementChild;

function layBox({ name, title, help, text }, most) {
  const label = make('label', '');
  const box = Object.assign(make('textarea', ''), { name, rows: 1, maxLength: most, value: text });
  box.dir = 'auto';
  label.append(make('b', '', title), make('span', '', help), box);
  return label;
}

function layBoxes() {
  place.replaceChildren(...(props.value?.boxes || []).map((box) => layBox(box, props.value.most)));
}

watch('value', layBoxes);
layBoxes();

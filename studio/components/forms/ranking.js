// Ranking: the pictures in order, the best first. A digit or a click puts a picture behind those that have a place, or
// takes it out again; arrows and dragging move it.

const placesOf = (field) => answerOf(field) || [];
const imagesOf = (field) => field.question.choices.map(([, value]) => value);

function place(field, images) {
  const left = imagesOf(field).filter((image) => !images.includes(image));
  answer(field, left.length === 1 && images.length > 0 ? [...images, ...left] : images.length ? images : null);
}

function togglePlace(field, image) {
  const given = placesOf(field);
  field.selected = image;
  place(field, given.includes(image) ? given.slice(0, given.indexOf(image)) : [...given, image]);
}

function moveTo(field, image, rank) {
  const others = placesOf(field).filter((each) => each !== image);
  field.selected = image;
  place(field, [...others.slice(0, rank), image, ...others.slice(rank)]);
}

function rankedPicture(field, image, rank) {
  const [name] = field.question.choices.find(([, value]) => value === image);
  const pane = sheet.panes.find((each) => each.name.toLowerCase() === name);
  const item = make('li', rank < 0 ? 'open' : '');
  const button = makeButton('', undefined, () => togglePlace(field, image));
  if (pane?.src) {
    const picture = make('img', pane.smooth ? 'smooth' : '');
    button.append(Object.assign(picture, { src: pane.src, alt: '', draggable: false }));
  }
  button.append(make('span', 'name', name), make('b', 'rank', rank < 0 ? '–' : rank + 1));
  button.setAttribute('aria-label', rank < 0 ? `${name}: no place yet` : `${name}: place ${rank + 1}`);
  button.setAttribute('aria-pressed', String(rank >= 0));
  item.draggable = true;
  item.dataset.image = image;
  item.ondragstart = (event) => event.dataTransfer.setData('text/plain', String(image));
  item.ondragover = (event) => event.preventDefault();
  item.ondrop = (event) => {
    event.preventDefault();
    const moved = imagesOf(field).find((each) => String(each) === event.dataTransfer.getData('text/plain'));
    if (moved !== undefined) moveTo(field, moved, rank < 0 ? placesOf(field).length : rank);
  };
  item.append(button);
  return item;
}

WIDGETS.ranking = {
  body: () => make('ol', 'ranked'),
  refresh(field) {
    const given = placesOf(field);
    const order = [...given, ...imagesOf(field).filter((image) => !given.includes(image))];
    const list = field.node.querySelector('.ranked');
    const focused = list.contains(document.activeElement) && document.activeElement.parentNode.dataset.image;
    list.replaceChildren(...order.map((image) => {
      const item = rankedPicture(field, image, given.indexOf(image));
      item.classList.toggle('selected', field === at && field.selected === image);
      return item;
    }));
    if (focused) list.querySelector(`[data-image="${focused}"] button`)?.focus({ preventScroll: true });
  },
  isPartial: (field) => placesOf(field).length > 0 && placesOf(field).length < imagesOf(field).length,
  pick(field, number) {
    const image = imagesOf(field)[number];
    if (image !== undefined) togglePlace(field, image);
    return image !== undefined;
  },
  beside(field, by) {
    const rank = placesOf(field).indexOf(field.selected);
    if (rank >= 0) moveTo(field, field.selected, Math.max(0, rank + by));
    return true;
  },
  take: () => false,
  clear(field) { answer(field, null); return true; },
};

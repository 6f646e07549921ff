// The pictures of a sheet: one large, or a pair, and below it all of them small.

function figure(number, named = true) {
  const { name, src, smooth } = sheet.panes[number];
  const pane = make('div', 'pane');
  const inner = make('div', 'inner');
  pane.dataset.pane = number;
  if (src) {
    const picture = make('img', smooth ? 'smooth' : '');
    Object.assign(picture, { src, alt: sheet.pair ? `The ${name.toLowerCase()} drawing` : named ? name : '', draggable: false });
    picture.onload = () => pane.style.setProperty('--ratio', picture.naturalWidth / picture.naturalHeight);
    inner.append(picture);
  } else inner.append(make('span', 'lost', 'picture lost'));
  inner.append(make('div', 'marks'));
  pane.append(inner);
  return pane;
}

function layPictures() {
  const together = make('div', 'together');
  const strip = make('ol', 'strip');
  if (!sheet.pair && sheet.panes.length > 1) {
    sheet.panes.forEach(({ name }, number) => {
      const button = makeButton('', undefined, () => { turnTo(number); button.blur(); });
      button.append(figure(number, false), make('span', 'name', name));
      const item = make('li', '');
      item.append(button);
      strip.append(item);
    });
  }
  together.append(make('div', 'large'), ...(strip.children.length ? [strip] : []));
  $('.pictures').replaceChildren(together);
}

function layLarge() {
  const numbers = sheet.pair ? [0, 1] : [shown];
  $('.large').replaceChildren(...numbers.filter((number) => sheet.panes[number]).map((number) => {
    const pane = figure(number);
    for (const widget of Object.values(WIDGETS)) widget.onPane?.(pane, number);
    return pane;
  }));
  root.querySelectorAll('.strip li').forEach((item, number) => item.toggleAttribute('aria-current', number === shown));
  for (const widget of Object.values(WIDGETS)) widget.drawOnPanes?.();
}

function turnTo(pane) {
  const first = fields.find((field) => field.thing.pane === pane);
  if (first) return goTo(fields.find((field) => field.thing.pane === pane && isEmpty(field)) || first);
  shown = pane; // nothing is asked about it, but it can be looked at
  layLarge();
}

function turn(by) {
  const pane = Math.min(sheet.panes.length - 1, Math.max(0, shown + by));
  if (!sheet.pair && pane >= 0 && pane !== shown) turnTo(pane);
  return true;
}

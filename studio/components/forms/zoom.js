// Looking closer, at several pictures in the same place at once. Every picture of a `.together` is an `.inner` in a
// `.pane`; the styles place it by three numbers, kept here: how close, and which part of it is at the left and the top.

const CLOSEST = 16;

function look(group, zoom, x, y) {
  const most = 1 - 1 / zoom;
  group.view = { zoom, x: Math.min(most, Math.max(0, x)), y: Math.min(most, Math.max(0, y)) };
  for (const [name, value] of Object.entries(group.view)) group.style.setProperty(`--${name}`, value);
}

const viewOf = (group) => group.view || { zoom: 1, x: 0, y: 0 };

// Closer by a factor, so that the point (x, y), in fractions of the picture, stays where it is.
function closer(group, factor, x, y) {
  const view = viewOf(group);
  const zoom = Math.min(CLOSEST, Math.max(1, view.zoom * factor));
  look(group, zoom, x - ((x - view.x) * view.zoom) / zoom, y - ((y - view.y) * view.zoom) / zoom);
}

function move(group, x, y) {
  const view = viewOf(group);
  look(group, view.zoom, view.x + x / view.zoom, view.y + y / view.zoom);
}

const fraction = (pane, event) => {
  const box = pane.querySelector('.inner').getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
};

// What the keys do to a group, or nothing where there is none; for `perform`.
function zooming(group) {
  if (!group) return {};
  const view = viewOf(group);
  return {
    closer: (factor) => closer(group, factor, view.x + 0.5 / view.zoom, view.y + 0.5 / view.zoom),
    whole: () => look(group, 1, 0, 0),
    move: (x, y) => move(group, x, y),
  };
}

once('zoom', () => {
  const large = (event) => event.target.closest?.('.together .large .pane');

  document.addEventListener('wheel', (event) => {
    const pane = large(event);
    if (!pane || !event.deltaY) return;
    event.preventDefault();
    closer(pane.closest('.together'), Math.exp(-event.deltaY / 400), ...fraction(pane, event));
  }, { passive: false });

  document.addEventListener('contextmenu', (event) => large(event) && event.preventDefault());

  document.addEventListener('pointerdown', (start) => {
    const pane = large(start);
    if (!pane || !start.button) return; // the main button draws
    start.preventDefault();
    pane.setPointerCapture(start.pointerId);
    const group = pane.closest('.together');
    let last = start;
    pane.onpointermove = (now) => {
      move(group, (last.clientX - now.clientX) / pane.clientWidth, (last.clientY - now.clientY) / pane.clientHeight);
      last = now;
    };
    pane.onpointerup = () => { pane.onpointermove = pane.onpointerup = null; };
  });
});

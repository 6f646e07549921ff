// The address of the page says what it shows, so that a view can be linked, loaded again and gone back to.
const NAMES = ['search', 'kind', 'category', 'checkpoint', 'before'];

function but(query, names) {
  const rest = new URLSearchParams(query);
  for (const name of names) rest.delete(name);
  rest.sort();
  return rest;
}

function address(query) {
  query.sort();
  return location.pathname + (String(query) && `?${query}`);
}

function addressed() {
  const shown = element.querySelector('[data-address]');
  if (!shown) return;
  const now = but(location.search, NAMES);
  for (const [name, value] of new URLSearchParams(shown.dataset.address)) now.set(name, value);
  now.sort();
  const before = but(location.search, []);
  if (String(now) === String(before)) return;
  const typed = String(but(now, ['search'])) === String(but(before, ['search'])); // one letter is no step to go back by
  history[typed ? 'replaceState' : 'pushState']({}, '', address(now));
}

// Days are told in UTC by the server; here they are those of the clock on the wall.
function dated() {
  for (const time of element.querySelectorAll('time:not([title])')) {
    const at = new Date(time.dateTime);
    time.title = at.toLocaleString('en-GB', { dateStyle: 'long', timeStyle: 'long' });
    time.textContent = at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
  }
}

function shown() {
  addressed();
  dated();
}

new MutationObserver(shown).observe(element, { childList: true, subtree: true, attributeFilter: ['data-address'] });
shown();

// --- several at once, for whoever may: “Select” or the key X begins; a click or the key chooses ---

const HINT = 'Click drawings, or press X on them; A takes all, Esc ends';
const chosen = new Set();
const bar = () => document.querySelector('#gallery-bulk');
const cards = () => [...element.querySelectorAll('a[data-run]')];
const selects = () => 'selecting' in element.dataset;

function marked() {
  for (const card of cards()) {
    if (selects()) {
      card.setAttribute('role', 'checkbox');
      card.setAttribute('aria-checked', String(chosen.has(card.dataset.run)));
    } else {
      card.removeAttribute('role');
      card.removeAttribute('aria-checked');
    }
  }
  if (!bar()) return;
  bar().classList.toggle('open', selects());
  bar().querySelector('.count').textContent = chosen.size ? `${chosen.size} chosen` : HINT;
}

function selecting(on) {
  if (on && !bar()) return;
  element.toggleAttribute('data-selecting', on);
  chosen.clear();
  marked();
}

function choose(run, on = !chosen.has(run)) {
  if (on) chosen.add(run); else chosen.delete(run);
  marked();
}

window.galleryChosen = () => JSON.stringify([...chosen]);
window.galleryConfirmed = () => {
  const many = chosen.size === 1 ? 'this drawing' : `these ${chosen.size} drawings`;
  return chosen.size && confirm(`Delete ${many} for good? “Hide” can be undone.`) ? window.galleryChosen() : '[]';
};

new MutationObserver(() => { // the list is another: what is no longer there is not chosen
  const there = new Set(cards().map((card) => card.dataset.run));
  for (const run of [...chosen]) if (!there.has(run)) chosen.delete(run);
  marked();
}).observe(element, { childList: true, subtree: true });

once('gallerySelect', () => {
  document.addEventListener('click', (event) => {
    if (event.target.closest?.('#gallery-select')) selecting(!selects());
  });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, textarea, select')) return;
    const card = event.target.closest?.('a[data-run]');
    const key = event.key.toLowerCase();
    if (key === 'x' && card && bar()) {
      if (!selects()) selecting(true);
      choose(card.dataset.run);
    } else if (!selects()) return;
    else if (key === 'a') cards().forEach((each) => choose(each.dataset.run, true));
    else if (event.key === 'Escape') selecting(false);
    else if (event.key === ' ' && card) choose(card.dataset.run);
    else return;
    event.preventDefault();
  });
});

// Cards are plain links; a plain click opens the replay on this page instead of loading it anew.
element.addEventListener('click', (event) => {
  const card = event.target.closest('a[data-run]');
  if (!card || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  if (selects()) {
    choose(card.dataset.run);
    return;
  }
  const now = but(location.search, ['run']);
  now.set('run', card.dataset.run);
  history.pushState({}, '', address(now));
  trigger('open', { run: card.dataset.run });
  scrollTo({ top: 0 });
});
once('galleryBack', () => addEventListener('popstate', () => location.reload()));

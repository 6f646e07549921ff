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

// Cards are plain links; a plain click opens the replay on this page instead of loading it anew.
element.addEventListener('click', (event) => {
  const card = event.target.closest('a[data-run]');
  if (!card || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const now = but(location.search, ['run']);
  now.set('run', card.dataset.run);
  history.pushState({}, '', address(now));
  trigger('open', { run: card.dataset.run });
  scrollTo({ top: 0 });
});
once('galleryBack', () => addEventListener('popstate', () => location.reload()));

// The keys of the Arena page, after keys.js, and clicks on its pictures. A second click that follows at once is none: it
// was meant for the pair before.

const PAUSE = 350; // ms

if (!window.ahaArenaKeys) {
  window.ahaArenaKeys = true;
  let pressed = -PAUSE;

  const sheet = () => document.querySelector('#arena-sheet .sheet:not([hidden])');
  const acts = {
    choose: (choice) => sheet()?.answer(choice) ?? true,
    press: (id) => document.getElementById(id)?.click() ?? true,
  };
  const tell = (words) => {
    document.getElementById('typed-ahead')?.remove();
    if (!words) return;
    const line = Object.assign(document.createElement('p'), { id: 'typed-ahead', textContent: words });
    line.setAttribute('role', 'status');
    document.getElementById('arena-more').after(line);
  };
  const ahead = typedAhead({
    shown: () => sheet()?.dataset.key,
    press: (event) => perform(event, 'arena', acts),
    tell,
  });
  window.ahaSettled = ahead.settle;

  document.addEventListener('click', (event) => {
    const pane = event.target.closest('#arena-sheet .pane');
    const option = event.target.closest('#arena-sheet input');
    const button = event.target.closest('#arena-none, #arena-skip, #arena-undo');
    if (!(pane || option || button)) return;
    if (ahead.waits || (event.detail && event.timeStamp - pressed < PAUSE)) {
      event.stopImmediatePropagation();
      event.preventDefault();
      return;
    }
    pressed = event.timeStamp;
    if (button) ahead.begin();
    if (pane) acts.choose(pane.dataset.pane === '0' ? 'left' : 'right');
  }, true);

  document.addEventListener('change', (event) => { // an answer, by whatever means
    if (!event.target.matches?.('#arena-sheet .sheet')) return;
    ahead.begin();
    acts.press('arena-answer');
  });

  document.addEventListener('keydown', (event) => {
    if (isTyping(event.target) || !document.getElementById('arena') || ahead.take(event) || event.repeat) return;
    if (perform(event, 'arena', acts)) event.preventDefault();
  });
}

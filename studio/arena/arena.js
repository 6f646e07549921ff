// The keys of the Arena page, after keys.js, and clicks on its pictures. A second click that follows at once is none: it
// was meant for the pair before.

const PAUSE = 350; // ms

if (!window.ahaArenaKeys) {
  window.ahaArenaKeys = true;
  let pressed = -PAUSE;

  const press = (id) => {
    const button = document.getElementById(id);
    if (!button) return false;
    button.click();
    return true;
  };
  const tell = (words) => {
    document.getElementById('typed-ahead')?.remove();
    if (!words) return;
    const line = Object.assign(document.createElement('p'), { id: 'typed-ahead', textContent: words });
    line.setAttribute('role', 'status');
    document.getElementById('arena-more').after(line);
  };
  const ahead = typedAhead({
    shown: () => document.querySelector('#arena-prompt [data-showing]')?.dataset.showing,
    press: (event) => perform(event, 'arena', { press }),
    tell,
  });
  window.ahaSettled = ahead.settle;

  document.addEventListener('click', (event) => {
    const button = event.target.closest('#arena-buttons button, #arena-none, #arena-skip, #arena-undo');
    if (button) {
      if (ahead.waits || (event.detail && event.timeStamp - pressed < PAUSE)) {
        event.stopImmediatePropagation();
        event.preventDefault();
        return;
      }
      pressed = event.timeStamp;
      ahead.begin();
      return;
    }
    const side = event.target.closest('#arena [data-press]');
    if (side) press(side.dataset.press);
  }, true);

  document.addEventListener('keydown', (event) => {
    if (isTyping(event.target) || !document.getElementById('arena') || ahead.take(event) || event.repeat) return;
    if (perform(event, 'arena', { press })) event.preventDefault();
  });
}

// The keys of the Arena page, and clicks on its pictures. A second press that follows at once is none: it was meant for
// the pair before.

const PAUSE = 350; // ms
const KEYS = {
  ArrowLeft: 'arena-left',
  ArrowRight: 'arena-right',
  ArrowDown: 'arena-tie',
  e: 'arena-tie',
  b: 'arena-both_bad',
  n: 'arena-none',
  s: 'arena-skip',
  u: 'arena-undo',
};

if (!window.ahaArenaKeys) {
  window.ahaArenaKeys = true;
  let pressed = 0;

  document.addEventListener('click', (event) => {
    const button = event.target.closest('#arena-buttons button, #arena-none, #arena-skip');
    if (button) {
      if (event.timeStamp - pressed < PAUSE) {
        event.stopImmediatePropagation();
        event.preventDefault();
        return;
      }
      pressed = event.timeStamp;
      return;
    }
    const side = event.target.closest('#arena [data-press]');
    if (side) document.getElementById(side.dataset.press)?.click();
  }, true);

  document.addEventListener('keydown', (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest('input, textarea, [contenteditable]')) return;
    const button = KEYS[event.key] && document.getElementById(KEYS[event.key]);
    if (!button) return;
    event.preventDefault();
    button.click();
  });
}

// The keys of the Arena page, after keys.js, and clicks on its pictures. A second click that follows at once is none: it
// was meant for the pair before.

const PAUSE = 350; // ms

once('arenaKeys', () => {
  let pressed = -PAUSE;

  const sheet = () => document.querySelector('#arena-sheet .sheet:not([hidden])');
  const acts = { choose: (choice) => sheet()?.answer(choice), press: pressButton };
  const ahead = typedAhead({
    shown: () => sheet()?.dataset.key,
    press: (event) => perform(event, 'arena', acts),
    below: '#arena-more',
  });

  document.addEventListener('click', (event) => {
    const pane = event.target.closest('#arena-sheet .pane');
    const option = event.target.closest('#arena-sheet input');
    const button = event.target.closest('#arena-none, #arena-skip, #arena-undo');
    if (!(pane || option || button)) return;
    if (ahead.waits || (event.detail && event.timeStamp - pressed < PAUSE)) return swallow(event);
    pressed = event.timeStamp;
    if (button) ahead.begin();
    if (pane) acts.choose(pane.dataset.pane === '0' ? 'left' : 'right');
  }, true);

  document.addEventListener('change', (event) => { // an answer, by whatever means
    if (!event.target.matches?.('#arena-sheet .sheet')) return;
    ahead.begin();
    pressButton('arena-answer');
  });

  document.addEventListener('keydown', (event) => {
    if (document.querySelector('#arena .no-pairs')) return;
    if (isTyping(event.target) || !document.getElementById('arena') || ahead.take(event) || event.repeat) return;
    if (perform(event, 'arena', acts)) event.preventDefault();
  });
});

// The keys of the Review page, after keys.js and zoom.js: its own, and those of the sheet while one is at it.

once('reviewKeys', () => {
  let isInSheet = false; // whether what was pressed last was in it

  const sheet = () => document.querySelector('#review-sheet .sheet:not([hidden])');

  for (const name of ['pointerdown', 'focusin']) {
    document.addEventListener(name, (event) => { isInSheet = Boolean(event.target.closest('#review-sheet')); }, true);
  }

  showMissing('#review-decide', sheet);

  document.addEventListener('keydown', (event) => {
    if (!document.getElementById('review') || isRepeated(event)) return;
    const name = namesOf(event).find((each) => Object.hasOwn(SHORTCUTS.review, each));
    if (isTyping(event.target) && name !== 'ctrl+Enter') return;
    if (isInSheet && name !== 'ctrl+Enter') { // in a checklist, N is an answer
      const zoom = () => !name && perform(event, 'zoom', zooming(document.querySelector('#review-sheet .together')));
      if (sheet()?.press(event) || zoom()) return event.preventDefault();
    }
    if (!name) return;
    if (event.repeat || !document.getElementById(SHORTCUTS.review[name][1])) return;
    event.preventDefault();
    document.activeElement?.blur();
    requestAnimationFrame(() => perform(event, 'review', { press: pressButton })); // after the text has reached Gradio
  });
});

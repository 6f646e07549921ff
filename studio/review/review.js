// The keys of the Review page, after keys.js.

if (!window.ahaReviewKeys) {
  window.ahaReviewKeys = true;

  document.addEventListener('keydown', (event) => {
    if (event.repeat || !document.getElementById('review')) return;
    const name = namesOf(event).find((one) => Object.hasOwn(SHORTCUTS.review, one));
    if (isTyping(event.target) && name !== 'ctrl+Enter') return;
    const press = (id) => document.getElementById(id)?.click() ?? false;
    const button = name && document.getElementById(SHORTCUTS.review[name][1]);
    if (!button) return;
    event.preventDefault();
    document.activeElement?.blur();
    requestAnimationFrame(() => perform(event, 'review', { press })); // after the text has reached Gradio
  });
}

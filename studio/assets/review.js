// The keys of the Review page, after keys.js.

if (!window.ahaReviewKeys) {
  window.ahaReviewKeys = true;

  document.addEventListener('keydown', (event) => {
    if (event.repeat || !document.getElementById('review')) return;
    const names = namesOf(event);
    if (isTyping(event.target) && names[0] !== 'ctrl+Enter') return;
    const press = (id) => document.getElementById(id)?.click() ?? false;
    const button = SHORTCUTS.review[names[0]] && document.getElementById(SHORTCUTS.review[names[0]][1]);
    if (!button) return;
    event.preventDefault();
    document.activeElement?.blur();
    requestAnimationFrame(() => perform(event, 'review', { press })); // after the text has reached Gradio
  });
}

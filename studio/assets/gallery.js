// Cards are plain links; a plain click opens the replay on this page instead of loading it anew.
element.addEventListener('click', (event) => {
  const card = event.target.closest('a[data-run]');
  if (!card || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  history.pushState({}, '', card.href);
  trigger('open', { run: card.dataset.run });
  scrollTo({ top: 0 });
});
if (!window.ahaGalleryBack) {
  window.ahaGalleryBack = true;
  addEventListener('popstate', () => location.reload());
}

// Which of two: an arrow is the side that it points to.
WIDGETS.preference = {
  ...ONE_OF,
  beside(field, by) { answer(field, by < 0 ? 'left' : 'right'); return true; },
};

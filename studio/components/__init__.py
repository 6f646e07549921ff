"""Components of several pages: the timeline, sheets of questions, plots, word buttons."""

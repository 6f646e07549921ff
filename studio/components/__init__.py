"""Parts that several pages show: the timeline, plots, buttons of words."""

// The best of several images: buttons side by side.
WIDGETS.best = ONE_OF;

// One of some: buttons side by side.
WIDGETS.choice = ONE_OF;

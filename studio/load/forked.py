"""Preloads the studio in the fork server of the load tests.

Meanwhile no garbage is collected, for an import makes next to none and a collection looks through all that is there;
nor is it looked through in the processes that are forked, which would copy its pages.
"""

import gc
import pkgutil

STUDIO = "studio.load.scripted"

gc.disable()
pkgutil.resolve_name(STUDIO)
gc.freeze()
gc.enable()

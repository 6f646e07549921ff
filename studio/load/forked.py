"""Imported by the fork server alone: the studio.

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

"""Aha Studio: `python app.py`.

Settings of the environment are read here and checked before anything that takes long to import; only the place of the
data is asked for by commands of `annotations` as well (`db/engine.py`). What cannot work is said in one line."""

import os
import pkgutil
import sys
from pathlib import Path

from annotations.errors import AnnotationsError
from studio.settings import SettingsError, from_environment, of_space, read_settings

CONFIG = Path(__file__).parent / "spaces_config.yaml"
STUDIO = "studio.main:serve"  # imported once the settings are known to be right: that takes seconds


def main() -> None:
    if sys.argv[1:]:
        sys.exit(f"Aha Studio takes no arguments; settings are in {CONFIG.name}, or AHA_STUDIO_… in the environment.")
    try:
        settings = of_space(read_settings(CONFIG, from_environment(os.environ)), os.environ)
        settings.check()
        print(f"Aha Studio is starting: libraries, then {', '.join(map(str, settings.checkpoints))} …", flush=True)
        pkgutil.resolve_name(STUDIO)(settings)
    except (SettingsError, AnnotationsError) as error:
        sys.exit(f"Aha Studio cannot start: {error}")


if __name__ == "__main__":
    main()

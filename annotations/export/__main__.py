"""`python -m annotations.export`."""

import sys

from annotations.export.command import main

sys.exit(main())

"""`python -m annotations.export`."""

import sys

from annotations.export.exporter import main

sys.exit(main())

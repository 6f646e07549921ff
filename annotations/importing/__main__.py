"""`python -m annotations.importing`."""

import sys

from annotations.importing.importer import main

sys.exit(main())

"""Exit of a command on an expected error: one line on stderr and a non-zero status. No torch."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_in_a_line(command: str, *errors: type[Exception], interrupted: str = "") -> Iterator[None]:
    """Ends the process where the work within raises one of the expected `errors`, or is ended by Ctrl-C; `interrupted`:
    what to do then."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\n{command}: interrupted" + (f"; {interrupted}" if interrupted else ""), file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGINT)
    except errors as error:
        sys.exit(f"{command}: {' '.join(str(error).split())}")

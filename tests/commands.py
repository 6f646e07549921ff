"""Runs the product's commands as `python -m` does, in this process: a process of its own takes seconds to start."""

import contextlib
import io
import runpy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess


def run(module: str, *arguments: str | Path, given: str = "") -> CompletedProcess[str]:
    """`python -m MODULE ARGUMENTS`, with `given` on standard input."""
    command = [module, *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with _as_command(command, given), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _code(module)
    return CompletedProcess(command, code, out.getvalue(), err.getvalue())


def _code(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        if isinstance(ending.code, str):
            print(ending.code, file=sys.stderr)
            return 1
        return ending.code or 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _as_command(command: list[str], given: str) -> Iterator[None]:
    before, stdin = sys.argv, sys.stdin
    sys.argv, sys.stdin = command, io.StringIO(given)
    try:
        yield
    finally:
        sys.argv, sys.stdin = before, stdin

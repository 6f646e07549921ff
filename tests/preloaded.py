"""`python ARGUMENTS` in a process that has imported the studio before it begins, which takes a new one eleven seconds.

It is forked from the load test's fork server, and that from this process where it has imported everything, too.
"""

import logging
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver, util
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from unsynced import stop_waiting

from studio.load.server import FORKS, ROOT, start_fork_server

MODULES = ("studio.main", "model.training.sft")


def fork_server_in_place() -> None:
    """Start the fork server as a fork of this process, if that has imported what it should have: before any test has
    changed something."""
    if all(name in sys.modules for name in MODULES):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(util, "spawnv_passfds", _fork)
            start_fork_server(*MODULES)


def _fork(_: object, command: Sequence[str], files: Sequence[int]) -> int:
    """In place of `multiprocessing.util.spawnv_passfds`, which runs `python -c CODE` with these files open."""
    if pid := os.fork():
        return pid
    try:
        _close_other_ends(files)
        logging.getLogger().handlers.clear()
        forkserver._forkserver._lock = threading.Lock()  # which is held while it is forked
        exec(command[-1], {})
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(1)


def _close_other_ends(files: Sequence[int]) -> None:
    """Close what writes into these pipes, whose end tells that nobody needs the fork server any more. All else stays
    open: its numbers must not be given to other files, since there are objects that would write to them."""
    pipes = [os.fstat(file) for file in files]
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):  # what listed them
            if int(name) not in files and any(os.path.samestat(os.fstat(int(name)), pipe) for pipe in pipes):
                os.close(int(name))


def start(
    arguments: Sequence[str | Path], out: Path, err: Path, environment: Mapping[str, str], *, new: bool = False
) -> BaseProcess:
    """Start it in the repository's root; what it prints is appended to the files `out` and `err`.

    Variables of the environment that a library reads while it is imported are those of the fork server, unless a
    `new` Python is asked for, which has imported nothing.
    """
    start_fork_server(*MODULES)
    request = [*map(str, arguments)], out, err, dict(environment)
    process = FORKS.Process(target=_replace_by_python if new else _do_as_python, args=request, daemon=True)
    process.start()
    return process


def call(function: Callable[..., object], *arguments: object) -> int | None:
    """The exit status of a process that calls a function of a module."""
    start_fork_server(*MODULES)
    process = FORKS.Process(target=function, args=arguments, daemon=True)
    process.start()
    process.join()
    return process.exitcode


def run(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = start(arguments, out, err, os.environ if environment is None else environment)
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired([*map(str, arguments)], timeout or 0)
        return subprocess.CompletedProcess(arguments, process.exitcode or 0, out.read_text(), err.read_text())


def run_as_torchrun(
    count: int, port: int, *arguments: str | Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run it in `count` processes that reach each other at a port, with the variables that torchrun gives each; what
    they say together, and the highest of their exit statuses."""
    shared = {**environment, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        ranks = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
        processes = [start(arguments, out, err, each) for each in ranks]
        for process in processes:
            process.join()
        status = max(abs(process.exitcode or 0) for process in processes)
        return subprocess.CompletedProcess(arguments, status, out.read_text(), err.read_text())


def _redirect(out: Path, err: Path) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), descriptor)
    os.chdir(ROOT)


def _replace_by_python(arguments: list[str], out: Path, err: Path, environment: dict[str, str]) -> None:
    _redirect(out, err)
    os.execve(sys.executable, [sys.executable, *arguments], environment)


def _do_as_python(arguments: list[str], out: Path, err: Path, environment: dict[str, str]) -> None:
    _redirect(out, err)
    stop_waiting(pytest.MonkeyPatch())
    os.environ.clear()
    os.environ.update(environment)
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")  # of a module that is imported already
    match arguments:
        case ["-m", module, *rest]:
            sys.argv, sys.path[0] = [module, *rest], str(ROOT)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *rest]:
            sys.argv, sys.path[0] = ["-c", *rest], ""
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(code, "<string>", "exec"), main.__dict__)
        case [script, *rest]:
            sys.argv, sys.path[0] = [script, *rest], str(Path(script).resolve().parent)
            runpy.run_path(script, run_name="__main__")

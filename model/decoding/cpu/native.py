"""Builds and loads `native.c`: decode-step operations of a small network on one CPU core.

Compiled once for a machine, where it has a C compiler, into the user's cache; without one `native` is None, and torch's
kernels serve. Passes torch's memory on as it is: float32, contiguous.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from platformdirs import user_cache_path

from model.decoding.cpu.operations import Shape
from model.decoding.kv_cache import CacheWindow

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_suffix(".c")
SECONDS = 120  # at most, to compile
FLAGS = ["-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-fassociative-math", "-fno-signed-zeros"]
MARCH = {"AVX512": ["-march=x86-64-v4"], "AVX2": ["-march=x86-64-v3"]}  # by what torch found in the processor
POINTER, LONG = ctypes.c_void_p, ctypes.c_long
TAKES = {
    "normal": [POINTER] * 2 + [LONG] * 2 + [ctypes.c_float],
    "product": [POINTER] * 3 + [LONG, POINTER] + [LONG] * 3,
    "attend": [POINTER] * 7 + [LONG] * 5,
    "gated": [POINTER] * 2 + [LONG] * 2,
}


@dataclass(frozen=True)
class PackedPanels:
    """A matrix of `outputs` rows, (panels, I, columns of a panel)."""

    values: torch.Tensor
    outputs: int


class Native:
    """Operations, compiled."""

    def __init__(self, library: ctypes.CDLL, shape: Shape):
        self.library = library
        self.shape = shape

    def packed(self, weight: torch.Tensor) -> PackedPanels:
        columns = self.library.panel()
        filled = F.pad(weight, (0, 0, 0, -len(weight) % columns))
        return PackedPanels(filled.unflatten(0, (-1, columns)).transpose(1, 2).contiguous(), len(weight))

    def product(self, inputs: torch.Tensor, weight: PackedPanels, added: torch.Tensor | None = None) -> torch.Tensor:
        inputs, added = inputs.contiguous(), None if added is None else added.contiguous()
        *rows, size = inputs.shape
        out = inputs.new_empty(*rows, weight.outputs)
        self.library.product(
            inputs.data_ptr(),
            weight.values.data_ptr(),
            None if added is None else added.data_ptr(),
            weight.outputs if added is not None and added.ndim > 1 else 0,
            out.data_ptr(),
            inputs.numel() // size,
            size,
            weight.outputs,
        )
        return out

    def normal(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden, size = hidden.contiguous(), hidden.shape[-1]
        out = torch.empty_like(hidden)
        least = self.shape.least
        self.library.normal(hidden.data_ptr(), out.data_ptr(), hidden.numel() // size, size, least)
        return out

    def attend(self, projected: torch.Tensor, window: CacheWindow, layer: int) -> torch.Tensor:
        each, width, stored = self.shape.each, self.shape.width, window.slots.stored[layer]
        heads, capacity = stored.shape[1], stored.shape[3]
        out, shares = projected.new_empty(*projected.shape[:2], heads * each * width), projected.new_empty(capacity)
        self.library.attend(
            projected.data_ptr(),
            window.rotary[0].data_ptr(),
            stored.data_ptr(),
            window.slot_of_each.data_ptr(),
            window.positions.data_ptr(),
            shares.data_ptr(),
            out.data_ptr(),
            window.positions.numel(),
            heads,
            each,
            width,
            capacity,
        )
        return out

    def gated(self, both: torch.Tensor) -> torch.Tensor:
        size = both.shape[-1] // 2
        out = both.new_empty(*both.shape[:-1], size)
        self.library.gated(both.data_ptr(), out.data_ptr(), out.numel() // size, size)
        return out


def native(shape: Shape) -> Native | None:
    """The compiled operations, where there is a compiler."""
    compiled = library()
    return None if compiled is None else Native(compiled, shape)


@cache
def library() -> ctypes.CDLL | None:
    """`native.c` compiled and loaded, or None."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform == "win32":
        return None
    flags = FLAGS + MARCH.get(torch.backends.cpu.get_cpu_capability(), [])
    named = hashlib.sha256("\n".join([SOURCE.read_text("utf-8"), compiler, platform.machine(), *flags]).encode())
    try:
        kept = (
            user_cache_path("aha-studio", appauthor=False, ensure_exists=True) / f"native-{named.hexdigest()[:16]}.so"
        )
        if not kept.exists():
            compile_to(kept, [compiler, *flags])
        loaded = ctypes.CDLL(str(kept))
    except (OSError, subprocess.SubprocessError) as error:
        log.info("torch's own kernels are used, since native.c could not be compiled: %s", error)
        return None
    for name, takes in TAKES.items():
        getattr(loaded, name).argtypes, getattr(loaded, name).restype = takes, None
    return loaded


def compile_to(path: Path, command: list[str]) -> None:
    """There whole or not at all: others may be compiling, too."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        subprocess.run(
            [*command, str(SOURCE), "-o", str(made), "-lm"], check=True, capture_output=True, timeout=SECONDS
        )
        os.replace(made, path)

"""Compiles the decoding kernels for GPUs that are not here, and prints what they would need of each.

`python compiling.py ROWS …`, which are those of products. A process of its own, since tests import Triton as an
interpreter.
"""

import json
import sys

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from model.decoding.cuda.triton_kernels import BLOCK, BYTES, OUTPUTS, WARPS, few_times_matrix, turn_keep_and_attend

WIDTH = 128  # Janus-Pro-7B's, as what follows
MATRICES = {"projected": (4096, 12288), "output": (4096, 4096), "gates": (4096, 11008), "down": (11008, 4096)}
NUMBERS = {"slots": "*i64", "positions": "*i64", "capacity": "i32", "epsilon": "fp32"}
SIZES = {"bf16": 2, "fp16": 2, "fp32": 4, "fp64": 8}


def compiled(kernel: triton.JITFunction, dtype: str, constants: dict, capability: int, warps: int) -> dict[str, object]:
    types = NUMBERS | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, f"*{dtype}") for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind[0] == "*"}
    source = ASTSource(kernel, signature, constants, aligned)
    found = triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": warps})
    name = f"{kernel.__name__} {dtype} {constants} {capability}"
    return {"name": name, "shared": found.metadata.shared, "reads_ahead": "cp.async" in found.asm["ptx"]}


def attending(dtype: str) -> dict[str, object]:
    exact = tl.float64 if dtype == "fp64" else tl.float32
    return {"H": 32, "G": 1, "W": WIDTH, "BLOCK": BYTES // (WIDTH * SIZES[dtype]), "EXACT": exact}


def multiplying(matrix: str, rows: int) -> dict[str, object]:
    taken, given = MATRICES[matrix]
    ways = {
        "NORMED": matrix in ("projected", "gates"),
        "GATED": matrix == "gates",
        "ONTO": matrix in ("output", "down"),
    }
    return {"R": rows, "TAKEN": taken, "GIVEN": given, **ways, "OUTPUTS": OUTPUTS, "BLOCK": BLOCK}


if __name__ == "__main__":
    found, counts = [], [int(rows) for rows in sys.argv[1:]]
    for capability in (80, 90):
        found += [compiled(turn_keep_and_attend, dtype, attending(dtype), capability, WARPS) for dtype in SIZES]
        for matrix in MATRICES:
            found += [compiled(few_times_matrix, "bf16", multiplying(matrix, rows), capability, 4) for rows in counts]
    print(json.dumps(found))

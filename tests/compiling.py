"""Compiles the decoding kernel for GPUs that are not here, and prints what it would need of each.

A process of its own, since tests import Triton as an interpreter.
"""

import json

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from model.decoding.kernel import BYTES, turn_keep_and_attend

WIDTH = 128  # Janus-Pro-7B's


def compiled(capability: int, dtype: str, size: int) -> dict[str, object]:
    exact = tl.float64 if size == 8 else tl.float32
    constants = {"H": 32, "G": 1, "W": WIDTH, "BLOCK": BYTES // (WIDTH * size), "EXACT": exact}
    types = {"slots": "*i64", "positions": "*i64", "capacity": "i32", "scale": "fp32"}
    types |= dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, f"*{dtype}") for name in turn_keep_and_attend.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind[0] == "*"}
    source = ASTSource(turn_keep_and_attend, signature, constants, aligned)
    found = triton.compile(source, GPUTarget("cuda", capability, 32))
    reads_ahead = "cp.async" in found.asm["ptx"]
    return {"for": f"{capability} {dtype}", "shared": found.metadata.shared, "reads_ahead": reads_ahead}


if __name__ == "__main__":
    sizes = {"bf16": 2, "fp16": 2, "fp32": 4, "fp64": 8}
    print(json.dumps([compiled(capability, *of) for capability in (80, 90) for of in sizes.items()]))

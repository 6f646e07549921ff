"""Compiles the decoding kernel for GPUs that are not here, and prints what it would need of each.

A process of its own, since tests import Triton as an interpreter.
"""

import json

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from model.decoding.cuda.triton_attention import BYTES, WARPS, turn_keep_and_attend

WIDTH = 128  # of a head of Janus-Pro-7B
NUMBERS = {"slots": "*i64", "positions": "*i64", "capacity": "i32"}
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


if __name__ == "__main__":
    kernels = [
        compiled(turn_keep_and_attend, dtype, attending(dtype), capability, WARPS)
        for capability in (80, 90)
        for dtype in SIZES
    ]
    print(json.dumps(kernels))

"""One module per format that can be imported: its layout and how its rows become records.

Each has `size` and `read` (its rows, the records of a file), `merged` (the record that was taken apart), MARKS (sets
of columns by each of which it is recognized, the first format that fits) and PROJECT (of its answers, which `answers`
makes of a record; None without).
"""

from types import ModuleType

from annotations.importing.formats import (
    flow_prompts,
    folder,
    genref,
    janus_sft,
    ours,
    pickapic,
    r3_bench,
    richhf,
    umm_reflection,
    unicot,
    verl_dpo,
    visual_reflection_v1,
)

FORMATS: dict[str, ModuleType] = {
    "ours": ours,
    "janus_sft": janus_sft,
    "pickapic": pickapic,
    "richhf": richhf,
    "visual_reflection_v1": visual_reflection_v1,
    "umm_reflection": umm_reflection,
    "unicot": unicot,
    "verl_dpo": verl_dpo,
    "genref": genref,
    "r3_bench": r3_bench,
    "folder": folder,
    "flow_prompts": flow_prompts,
}

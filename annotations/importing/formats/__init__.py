"""One module per format that can be imported: its layout and how its rows become records."""

from types import ModuleType

from annotations.importing.formats import folder, janus_sft, ours, pickapic, richhf

FORMATS: dict[str, ModuleType] = {
    "ours": ours,
    "janus_sft": janus_sft,
    "folder": folder,
    "pickapic": pickapic,
    "richhf": richhf,
}

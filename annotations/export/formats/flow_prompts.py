"""The formats `flow_prompts` and `flow_metadata`: prompt files of Flow-GRPO and Flow-Factory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datasets import Features, List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.formats.external_rows import row_of, untouched
from annotations.export.kind import Context, Excluded, ExportKind, ExportRow
from annotations.export.kinds.prompts import facts_of
from annotations.export.labels.plans import is_narrowed

FORMAT = "flow_prompts"  # its name among those that are imported
GENERAL = "general"  # the tag of a prompt without a category


class FlowPrompts(ExportKind):
    """One line per prompt."""

    name = FORMAT
    title = "Prompts for Flow-GRPO"
    purpose = (
        "Prompts for Flow-GRPO and Flow-Factory, `train.txt` and so on: one different prompt per line, with blanks in "
        "the place of line ends."
    )
    advice = "draw something first"
    everything = True
    layout = "text"
    tasks = ("text-to-image",)
    features = Features({"text": Value("string")})

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        if annotated.groups or not is_narrowed(context.query):
            yield row_of(annotated, self.values(annotated, context), context, ())

    def values(self, annotated: AnnotatedTrajectory, context: Context) -> dict[str, Any]:
        return {"text": annotated.trajectory.prompt}


class FlowMetadata(FlowPrompts):
    """One line per prompt, with what a reward reads."""

    name = "flow_metadata"
    title = "Prompts with metadata for Flow-GRPO"
    purpose = (
        "Prompts for Flow-GRPO in GenEval’s layout, `train_metadata.jsonl` and so on: one different `prompt` per line, "
        "its `tag` (the category) and `facts` that must hold of a drawing, where the embedded world knows it. Imported "
        "lines are as they came."
    )
    layout = "prompt_lines"
    features = Features({"prompt": Value("string"), "tag": Value("string"), "facts": List(Value("string"))})

    def file_name(self, split: str) -> str:
        return f"{split}_metadata.jsonl"

    def values(self, annotated: AnnotatedTrajectory, context: Context) -> dict[str, Any]:
        records = context.imported([annotated.trajectory.id], FORMAT) if untouched(annotated) else []
        prompt = annotated.trajectory.prompt
        return (
            records[0]
            if records
            else {"prompt": prompt, "tag": annotated.category or GENERAL, "facts": facts_of(prompt)}
        )

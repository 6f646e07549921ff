"""The format `genref`: GenRef of ReflectionFlow (WebDataset), a bad image, what is wrong with it, a good image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Features, Value

from annotations.export.formats.rounds import Files, Round, RoundsKind
from annotations.export.kind import Context
from annotations.schema.published_formats import GENREF_BAD, GENREF_GOOD
from model.trajectory import Trajectory

ONE_ROUND = "its first image was accepted, so that there is no bad one"
TEXTS = ("reflection.txt", "prompt.txt", "subset.txt")


class GenRef(RoundsKind):
    name = "genref"
    title = "Pairs of GenRef"
    purpose = (
        "Tars of GenRef, read by `webdataset`: `bad_image.jpg` (the last draft that people reject), `reflection.txt` "
        "(what is wrong with it and what to change), `good_image.jpg` (the revision that they accept), `prompt.txt` "
        "and `subset.txt` (“general”). The images are the stored PNG files, without loss, under the names that the "
        "format has; readers go by their content. What is said is what people corrected or called right. Imported "
        "samples that nobody has answered are as they came."
    )
    layout = "webdataset"
    features = Features(
        {name: Value("string") for name in ("__key__", *TEXTS)}
        | {GENREF_BAD: Value("binary"), GENREF_GOOD: Value("binary")}
    )
    edits = False

    def values(self, trajectory: Trajectory, rounds: Sequence[Round]) -> dict[str, Any] | str:
        if len(rounds) < 2:
            return ONE_ROUND
        bad = rounds[-2]
        return {
            "__key__": f"{trajectory.id}-{bad.segment}",
            "reflection.txt": " ".join(text for text in (bad.reason, bad.edit) if text),
            "prompt.txt": trajectory.prompt,
            "subset.txt": "general",
        }

    def with_pictures(
        self, values: dict[str, Any], pictures: Sequence[bytes], files: Files
    ) -> tuple[dict[str, Any], Files]:
        texts = {name: values[name].encode("utf-8", "surrogatepass") for name in TEXTS}
        return {"__key__": values["__key__"]}, {GENREF_GOOD: pictures[-1], GENREF_BAD: pictures[-2]} | texts

    def restored(
        self, trajectory: Trajectory, record: dict[str, Any], context: Context
    ) -> tuple[dict[str, Any], Files]:
        members = {name: value for name, value in record.items() if name not in ("__key__", "json")}
        files = {name: value.encode() if isinstance(value, str) else value for name, value in members.items()}
        return {"__key__": record["__key__"]} | record.get("json", {}), files

"""The dataset card (README.md with YAML front matter) of an export.

No prompt and no other text of a visitor stands in it; names of checkpoints are shown as code.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from annotations.export.kind import ExportKind
from annotations.export.manifest import SOURCES, Manifest
from annotations.export.writing.writers import load_line

CARD = """\
---
{front}---

# {kind}

{purpose}

{examples} rows from {trajectories} trajectories, by {annotators} under pseudonyms.

| | rows |
|---|---|
{table}

Drawn by: {checkpoints}

{facts}

`manifest.json` has the query, the hashes of the files and what was left out, and why; `{sources}` the trajectories and
revisions of annotations that each row was made from.

```python
from datasets import load_dataset

rows = {load}
```
"""


def dataset_card(kind: ExportKind, manifest: Manifest) -> str:
    """Markdown with YAML front matter."""
    splits = list(dict.fromkeys(file.split for file in manifest.files))
    front: dict[str, Any] = {"task_categories": list(kind.tasks)}
    if kind.layout == "parquet":
        data_files = [{"split": split, "path": f"{split}-*.parquet"} for split in splits]
        front = {"configs": [{"config_name": kind.name, "data_files": data_files}]} | front
    if licence := manifest.query.get("licence"):
        front["license"] = licence
    front["tags"] = ["aha-studio", "human-feedback", *(["reflection"] if "judge" in kind.name else [])]
    front["tags"] += ["trl"] if kind.trl else []
    counts = {"all": manifest.examples, **manifest.counts}
    return CARD.format(
        front=yaml.safe_dump(front, sort_keys=False),
        kind=manifest.kind,
        purpose=kind.purpose,
        examples=manifest.examples,
        trajectories=manifest.trajectories,
        annotators="one person" if manifest.annotators == 1 else f"{manifest.annotators} people",
        table="\n".join(f"| {name} | {number} |" for name, number in counts.items()),
        checkpoints=", ".join(_as_code(name) for name in manifest.checkpoints) or "unknown",
        facts=" ".join(_facts(kind, manifest)),
        sources=SOURCES,
        load=load_line(kind, manifest.files),
    )


def _facts(kind: ExportKind, manifest: Manifest) -> list[str]:
    facts = [f"Splits: {', '.join(dict.fromkeys(file.split for file in manifest.files))}."]
    if manifest.agreement is not None:
        facts.append(f"Mean agreement of the people behind a row: {manifest.agreement:.2f}.")
    if kind.trl:
        facts.append(f"TRL's `{kind.trl}` takes it as it is.")
    return facts


def _as_code(name: str) -> str:
    return "`" + re.sub(r"[`|<>\s]+", " ", name) + "`"

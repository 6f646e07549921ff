"""The dataset card (README.md with YAML) of an export.

No prompt and no other text of a visitor stands in it; names of checkpoints are shown as code.
"""

import re

import yaml

from annotations.export.manifest import Manifest

JUDGE_SFT = """\
---
{front}---

# {kind}

Human corrections of what a model said about its own drawings: {examples} examples from {trajectories}
trajectories, by {annotators} under pseudonyms. Each row is one reflection to learn: the prompt, the
images drawn for it so far, the reflections between them, and what should be said of the last image.

| | examples |
|---|---|
| written by a person | {person} |
| the model’s own words, approved | {sampled} |
| verdict yes | {yes} |
| verdict no | {no} |
| decided by a reviewer, where others disagreed | {decided} |

Drawn by: {checkpoints}

Columns: `prompt`, `completion` and `images` as TRL wants them (conversational, images in the prompt only);
`origin` (`person` or `sampled`), `weight`, `trajectory_id`, `segment`, `annotator`, `decided` and `correction` beside
them: what a reviewer decided stands in place of what others said. A completion is a sentence: “No, …”; `correction` is
the reason as the person wrote it, character by character (null where the words are the model’s own). The images are the
stored PNG files, byte for byte.
`manifest.json` has the hash of the Parquet file and what was left out, and why.

```python
from datasets import load_dataset

rows = load_dataset("parquet", data_files="{file}", split="train")
```
"""

ANSWERS = """\
---
{front}---

# {kind}

What people answered about drawings of a model: {examples} answers about {trajectories} trajectories, by {annotators}
under pseudonyms.

| form | answers |
|---|---|
{table}

Drawn by: {checkpoints}

A row is one answer: `project`, `question` and `title` say to what, `trajectory_id` and `segment` about what, and the
column that is named by its `form` holds it; the other forms' columns are null. `decision` says of what kind a
reviewer's decision is (`accepted`, `rejected`, `rewritten`); null are the answers of everybody else. Regions are boxes
and points in fractions of the image, `words` are indices of words of the `prompt`, which is split at white space, a
`preference` names the trajectories that stood on the left and on the right.

```python
from datasets import load_dataset

rows = load_dataset("parquet", data_files="{file}", split="train")
```
"""


def dataset_card(manifest: Manifest) -> str:
    """Markdown with YAML front matter."""
    judges = manifest.kind == "judge_sft"
    front = {
        "configs": [{"config_name": manifest.kind, "data_files": [{"split": "train", "path": "train-*.parquet"}]}],
        "task_categories": ["image-text-to-text"] if judges else ["other"],
        "tags": ["aha-studio", *(["reflection"] if judges else []), "human-feedback", *(["trl"] if judges else [])],
    }
    return (JUDGE_SFT if judges else ANSWERS).format(
        front=yaml.safe_dump(front, sort_keys=False),
        kind=manifest.kind,
        examples=manifest.examples,
        trajectories=len(manifest.trajectory_ids),
        annotators="one person" if manifest.annotators == 1 else f"{manifest.annotators} people",
        checkpoints=", ".join(_as_code(name) for name in manifest.checkpoints),
        file=manifest.file,
        table="\n".join(f"| {name} | {number} |" for name, number in manifest.counts.items()),
        **manifest.counts,
    )


def _as_code(name: str) -> str:
    return "`" + re.sub(r"[`|<>\s]+", " ", name) + "`"

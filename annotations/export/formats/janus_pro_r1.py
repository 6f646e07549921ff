"""The format `janus_pro_r1`: the released fine-tuning labels of Janus-Pro-R1, with images where its reader looks.

Its reader runs beside `data/`: it takes `data/t2i_examples/labels/flux_0.7.jsonl` line by line, images of state 4 as
right and of states 0 and 1 as wrong, opens them by `img_path`, and for a redraw pairs a wrong with a right image of one
`promptid`; a line without a right image is not paired.
"""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features, List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.formats.external_rows import ANNOTATED, IMPORTED, hashes_of, image_files, row_of, untouched
from annotations.export.kind import Context, Excluded, ExportKind, ExportRow, answers_of, in_order
from annotations.export.labels.judge_targets import JudgeExclusion, judge_target
from annotations.export.labels.reflections import READS, AggregatedReflection, aggregate_reflections
from annotations.export.manifest import TRAIN
from model.prepare.released_labels import IMAGES, LABELS, RIGHT, TRAIN_FILE, WRONG, label_entry, label_line

FORMAT = "janus_sft"  # its name among those that are imported


class JanusProR1(ExportKind):
    """One line per prompt, with all its images."""

    name = "janus_pro_r1"
    title = "Labels of Janus-Pro-R1"
    purpose = (
        "The released labels of Janus-Pro-R1, one prompt per line: `promptid`, `prompt`, and `data` with an entry per "
        "image: `id`, `img_path` (below `data/t2i_examples/images/`), `reason` (begins with Yes or No: what people "
        "corrected or called right), `prob` (the share of people by whom the image is right) and `state` (4: right, 0: "
        "wrong). Copy `data/` beside the released code, which reads `flux_0.7.jsonl`; other splits stand beside it "
        "under their own names. Imported lines that nobody has answered are as they came, with images in the place of "
        "theirs."
    )
    counted = (ANNOTATED, IMPORTED)
    advice = "submit annotations that correct a reflection, or call it right and rate its reason"
    questions = READS
    forms = ("choice", "rating", "text")
    everything = True
    layout = "prompt_lines"
    tasks = ("text-to-image",)
    unused = JudgeExclusion.NO_REFLECTION
    features = Features(
        {
            "promptid": Value("int64"),
            "prompt": Value("string"),
            "data": List(
                {
                    "id": Value("int64"),
                    "img_path": Value("string"),
                    "reason": Value("string"),
                    "prob": Value("float64"),
                    "state": Value("int64"),
                }
            ),
        }
    )

    def file_name(self, split: str) -> str:
        return TRAIN_FILE if split == TRAIN else f"{LABELS}/{split}.jsonl"

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        records = context.imported([annotated.trajectory.id], FORMAT) if untouched(annotated) else []
        for record in records:
            [path, *_], files = image_files(hashes_of(annotated.trajectory), context, IMAGES)
            values = record | {"data": [datum | {"img_path": path} for datum in record["data"]]}
            yield row_of(annotated, values, context, list(in_order(annotated)), label=IMPORTED, files=files)
        if records:
            return
        for about in aggregate_reflections(annotated, context, READS):
            yield from [about] if isinstance(about, Excluded) else _rows(annotated, about, context)


def _rows(
    annotated: AnnotatedTrajectory, about: AggregatedReflection, context: Context
) -> Iterator[ExportRow | Excluded]:
    """The first wording that counts; the others are in it."""
    answers = tuple(answer for person in about.people for answer in answers_of(person, READS))
    trajectory, why = annotated.trajectory, None
    for person in about.people:
        target = judge_target(trajectory, person, about.rating, context.query.good)
        if isinstance(target, JudgeExclusion):
            why = why or target
            continue
        right = target.completion.lower().startswith("yes")
        agreement = about.votes.agreement if about.votes else 1.0
        [path], files = image_files([target.images[-1]], context, IMAGES)
        number, prob = 1000 * annotated.number + about.segment, agreement if right else 1 - agreement
        entry = label_entry(number, path, target.completion, prob, RIGHT if right else WRONG)
        values = label_line(trajectory.prompt, [entry])
        yield row_of(annotated, values, context, about.people, answers=answers, files=files)
        return
    if why is not None:
        yield Excluded(why, answers)

"""The report of a preparation: shares and rows as Markdown with pictures, and a histogram of S for each painter."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from model.atomic_files import write_whole
from model.prepare.scored_images import ScoredImage
from model.prepare.selection import Selection, Thresholds
from model.prepare.workspace import Workspace

BINS = 20
EXAMPLES = 6  # of either kind
HISTOGRAM, REPORT = "report.png", "report.md"


@dataclass
class PainterTally:
    """One painter's images, equal ones of a prompt counted once."""

    images: int = 0
    accepted: int = 0
    wrong: int = 0
    total: float = 0.0  # of S
    bins: list[int] = field(default_factory=lambda: [0] * BINS)

    def add(self, image: ScoredImage, thresholds: Thresholds) -> None:
        self.images += 1
        self.accepted += thresholds.is_accepted(image)
        self.wrong += thresholds.is_wrong(image)
        self.total += image.score
        self.bins[min(BINS - 1, int(image.score * BINS))] += 1


@dataclass
class PrepareTally:
    """Counts over all prompts, and a few examples, chosen by the hashes of the pictures."""

    prompts: int = 0
    prompts_with_pairs: int = 0
    equal: int = 0  # images that were left out, as the prompt has their picture already
    painters: dict[str, PainterTally] = field(default_factory=dict)
    accepted: list[ScoredImage] = field(default_factory=list)
    pairs: list[tuple[ScoredImage, ScoredImage]] = field(default_factory=list)

    def add(self, selection: Selection, thresholds: Thresholds) -> None:
        self.prompts += 1
        self.prompts_with_pairs += bool(selection.pairs)
        self.equal += selection.equal
        for image in selection.images:
            name = image.drawn.plan.painter.name
            self.painters.setdefault(name, PainterTally()).add(image, thresholds)
        self.accepted = sorted([*self.accepted, *selection.drawn], key=lambda image: image.drawn.sha256)[:EXAMPLES]
        self.pairs = sorted([*self.pairs, *selection.pairs], key=lambda pair: pair[0].drawn.sha256)[:EXAMPLES]


def summary(tally: PrepareTally, rows: Mapping[str, int]) -> dict[str, Any]:
    """As JSON values."""
    painters = {
        name: {
            "images": each.images,
            "accepted": each.accepted / max(1, each.images),
            "wrong": each.wrong / max(1, each.images),
            "mean_score": each.total / max(1, each.images),
            "histogram": each.bins,
        }
        for name, each in tally.painters.items()
    }
    counts: dict[str, Any] = {
        "prompts": tally.prompts,
        "prompts_with_pairs": tally.prompts_with_pairs,
        "equal_pictures": tally.equal,
    }
    return counts | {"painters": painters, "rows": dict(rows)}


def table(tally: PrepareTally) -> str:
    """A line for every painter."""
    lines = [f"{'painter':32}{'images':>8}{'accepted':>10}{'wrong':>8}{'mean S':>8}"]
    for name, each in tally.painters.items():
        shares = (each.accepted / max(1, each.images), each.wrong / max(1, each.images))
        mean = each.total / max(1, each.images)
        lines.append(f"{name:32}{each.images:>8}{shares[0]:>10.1%}{shares[1]:>8.1%}{mean:>8.2f}")
    return "\n".join(lines)


def write_report(
    folder: Path, tally: PrepareTally, rows: Mapping[str, int], critic: str, thresholds: Thresholds
) -> None:
    """`report.md` and `report.png` in the folder."""
    write_whole(folder / HISTOGRAM, _histogram(tally, thresholds), mode=0o644)
    text = "\n\n".join(
        [
            "# Prepared records",
            f"{tally.prompts} prompts; {tally.prompts_with_pairs} with a wrong and an accepted image; {tally.equal} "
            f"images left out, whose picture the prompt has already. S is the P(yes) of {critic}: accepted from "
            f"{thresholds.accepted:g}, judged yes from {thresholds.right:g}, wrong below {thresholds.wrong:g}.",
            "```\n" + table(tally) + "\n```",
            "| rows | |\n|---|---|\n" + "\n".join(f"| {kind} | {count} |" for kind, count in rows.items()),
            f"![Images by S, for each painter]({HISTOGRAM})",
            "## Accepted",
            _pictures(["prompt", "image", "S", "reason"], [[image] for image in tally.accepted]),
            "## Wrong, and an accepted image of the prompt",
            _pictures(["prompt", "wrong", "S", "reason", "accepted", "S", "reason"], [[*p] for p in tally.pairs]),
        ]
    )
    write_whole(folder / REPORT, f"{text}\n", mode=0o644)


def _pictures(heads: Sequence[str], rows: Sequence[Sequence[ScoredImage]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for images in rows:
        cells = [_cell(images[0].drawn.plan.prompt)]
        for image in images:
            shown = f"![]({Workspace.picture_name(image.drawn.sha256)})"
            cells += [shown, f"{image.score:.2f}", _cell(image.reason)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if rows else "None."


def _cell(text: str) -> str:
    """A text in a table of Markdown, of which no mark has an effect."""
    plain = " ".join(text.split())
    marks = {ord(mark): f"\\{mark}" for mark in "\\`*_{}[]()#+-.!|~"}
    return plain.replace("&", "&amp;").replace("<", "&lt;").translate(marks)


def _histogram(tally: PrepareTally, thresholds: Thresholds) -> bytes:
    """A panel for every painter, PNG."""
    painters = tally.painters or {"no image": PainterTally()}
    figure = Figure(figsize=(6.4, 2.0 * len(painters)), layout="constrained")
    for at, (name, each) in zip(figure.subplots(len(painters), 1, squeeze=False)[:, 0], painters.items(), strict=True):
        at.bar([(number + 0.5) / BINS for number in range(BINS)], each.bins, 0.92 / BINS, color="#3b4cc0")
        for threshold in (thresholds.wrong, thresholds.accepted):
            at.axvline(threshold, color="#b8435a", linewidth=1)
        at.set_xlim(0, 1)
        at.set_title(f"{name}: images by S", loc="left", fontsize=10)
        at.tick_params(labelsize=8)
        at.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()

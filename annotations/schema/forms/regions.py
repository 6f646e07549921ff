"""Regions: boxes and points in an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from annotations.schema.forms.question_form import Feature, FormOfChoices, MeasurementLevel
from model.examples import is_number
from model.trajectory import Image, Source, Trajectory

MOST_REGIONS = 100
OVERLAP = 0.3  # of two boxes that are the same place: intersection over union
NEAR = 0.1  # of two points, or a point and a box, that are the same place: fractions of the image

Region = Mapping[str, Any]


@dataclass(frozen=True)
class Regions(FormOfChoices):
    """Boxes {x, y, w, h} and points {x, y} in fractions of the image, from its upper left; `label` is one of `choices`.

    Right are regions of which each hits a right one, and that leave none out.
    """

    name: ClassVar[str] = "regions"
    title: ClassVar[str] = "places on the image"
    level: ClassVar[MeasurementLevel | None] = None
    on_image: ClassVar[bool] = True
    feature: ClassVar[Feature] = [{"x": "float64", "y": "float64", "w": "float64", "h": "float64", "label": "string"}]

    def problem(self, target: str) -> str | None:
        if target not in (Image.kind, Source.kind):
            return f"asks for places in an image; ask it about an {Image.kind} or a {Source.kind}"
        return super().problem(target)

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        if not isinstance(value, (tuple, list)) or len(value) > MOST_REGIONS:
            return f"at most {MOST_REGIONS} boxes and points"
        return next((problem for region in value if (problem := self._expected(region)) is not None), None)

    def _expected(self, region: Any) -> str | None:
        if not isinstance(region, Mapping) or set(region) - {"label"} not in ({"x", "y"}, {"x", "y", "w", "h"}):
            return "boxes with x, y, w, h and points with x, y"
        x, y, w, h = (region.get(name, 0.0) for name in "xywh")
        if not all(_is_fraction(number) for number in (x, y, w, h)) or x + w > 1 + 1e-9 or y + h > 1 + 1e-9:
            return "fractions of the image: numbers from 0 to 1, boxes that stay inside"
        if "w" in region and not (w > 0 and h > 0):
            return "boxes that are wider and higher than nothing"
        if self.choices and region.get("label") not in self.choices:
            return f"regions with a label, one of: {', '.join(self.choices)}"
        if not self.choices and "label" in region:
            return "regions without a label"
        return None

    def is_right(self, answer: Any, gold: Any) -> bool:
        hit = all(any(_same_place(region, right) for region in answer) for right in gold)
        return hit and all(any(_same_place(region, right) for right in gold) for region in answer)

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        return list(dict.fromkeys(region.get("label", "marked") for region in value))

    def column(self, value: Any) -> list[dict[str, Any]]:
        return [{name: float(v) if name != "label" else v for name, v in region.items()} for region in value]

    def in_words(self, value: Any, trajectory: Trajectory) -> str:
        return ", ".join(_in_words(region) for region in value)


def _in_words(region: Region) -> str:
    x, y = (round(100 * region[axis]) for axis in "xy")
    return f"{region.get('label', 'something')} at {x} %, {y} %"


def _is_fraction(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _same_place(region: Region, other: Region) -> bool:
    if region.get("label") != other.get("label"):
        return False
    if "w" in region and "w" in other:
        return _intersection_over_union(region, other) >= OVERLAP
    return all(
        max(region[a], other[a]) - min(region[a] + region.get(side, 0), other[a] + other.get(side, 0)) <= NEAR
        for a, side in (("x", "w"), ("y", "h"))
    )


def _intersection_over_union(box: Region, other: Region) -> float:
    width = min(box["x"] + box["w"], other["x"] + other["w"]) - max(box["x"], other["x"])
    height = min(box["y"] + box["h"], other["y"] + other["h"]) - max(box["y"], other["y"])
    both = max(width, 0.0) * max(height, 0.0)
    return both / (box["w"] * box["h"] + other["w"] * other["h"] - both)

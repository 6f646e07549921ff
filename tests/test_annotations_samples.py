"""Trajectories and pictures for the tests of `annotations`: small, real, made without a model."""

import hashlib
import io

from PIL import Image as Picture

from annotations.schema.annotation import Annotation
from model.trajectory import Image, Origin, Reflection, Sampling, StopReason, Thought, Token, Trajectory

NO_REASON = "No, there are three apples instead of two."
YES_REASON = "Yes, there are two apples."


def png(number: int = 0) -> bytes:
    """A real PNG, another for every number."""
    buffer = io.BytesIO()
    Picture.new("RGB", (8, 8), (number % 256, number // 256 % 256, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def image(content: bytes) -> Image:
    codes = (1, 2, 3, 4)
    return Image(codes, hashlib.sha256(content).hexdigest(), (Origin.SAMPLED,) * 4)


def reflection(text: str) -> Reflection:
    answer, rest = ("no", text[2:]) if text.startswith("No") else ("yes", text[3:])
    return Reflection(answer, 0.25, (Token(1, text[: len(text) - len(rest)]), Token(2, rest)))


def aha(number: int = 0, prompt: str = "two apples", **changes) -> tuple[Trajectory, dict[str, bytes]]:
    """Thought, draft, no, revision, yes (segments 0 to 4), and its two pictures."""
    draft, revision = png(2 * number), png(2 * number + 1)
    segments = (
        Thought((Token(9, "red apple at 0 0", Origin.TEMPLATE),)),
        image(draft),
        reflection(NO_REASON),
        image(revision),
        reflection(YES_REASON),
    )
    trajectory = Trajectory(
        **{
            "prompt": prompt,
            "seed": number,
            "rounds": 3,
            "sampling": Sampling(top_k=5, thinks=True),
            "checkpoint": "tiny",
            "segments": segments,
            "stop_reason": StopReason.CONTENT,
            "created_at": f"2026-01-01T00:00:{number % 60:02d}+00:00",
            "times_ms": (1, 2, 3, 4, 5),
        }
        | changes
    )
    return trajectory, {hashlib.sha256(content).hexdigest(): content for content in (draft, revision)}


def judged(trajectory_id: str, segment: int = 2, annotator: str = "ann", **answers) -> Annotation:
    return Annotation(trajectory_id, segment, annotator, answers)


def test_the_samples_are_what_they_say():
    trajectory, pictures = aha()
    assert trajectory.aha
    assert {image.sha256 for image in trajectory.images} == set(pictures)
    assert [reflection.text for reflection in trajectory.reflections] == [NO_REASON, YES_REASON]

"""Trajectories and a store for the tests of the studio; no network is needed to make them."""

from hashlib import sha256

from PIL import Image as Picture

from model.images import encode_png
from model.trajectory import Image, Origin, Reflection, Sampling, StopReason, Thought, Token, Trajectory

HOSTILE = '<img src=q onerror=alert(1)> ${alert(2)} {{value}} `"'


def png(shade: int, side: int = 64) -> bytes:
    return encode_png(Picture.new("RGB", (side, side), (shade, shade, shade)))


def tokens(*words: str) -> tuple[Token, ...]:
    return tuple(Token(index, word) for index, word in enumerate(words))


def image(shade: int) -> Image:
    return Image(tuple(range(64)), sha256(png(shade)).hexdigest(), (Origin.SAMPLED,) * 64)


def aha(
    prompt: str = "two red apples", *, identity: str = "aha", last: int = 20
) -> tuple[Trajectory, dict[str, bytes]]:
    """A draft judged no, a revision (of the shade `last`) judged yes; and the pictures."""
    segments = (
        Thought(tokens("red apple at 1 1;", " green apple at 4 4")),
        image(10),
        Reflection("no", 0.1, tokens("No", ", one apple", " is green.")),
        Thought(tokens("red apple at 1 1;", " red apple at 4 4")),
        image(last),
        Reflection("yes", 0.9, tokens("Yes", ", two red apples.")),
    )
    trajectory = Trajectory(
        prompt, 7, 3, Sampling(thinks=True), "embedded", segments, StopReason.CONTENT, id=identity,
        created_at="2026-01-31T12:00:00+00:00",
    )  # fmt: skip
    return trajectory, {sha256(png(shade)).hexdigest(): png(shade) for shade in (10, last)}


def stopped() -> Trajectory:
    """Stopped while the first image was drawn."""
    segments = (Image(tuple(range(10)), None, (Origin.SAMPLED,) * 10, finished=False),)
    return Trajectory("a cat", 1, 3, Sampling(), "embedded", segments, StopReason.CANCELLED, id="stopped")

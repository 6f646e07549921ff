"""Opens backends by name: `SOURCE`, a Janus checkpoint, or `KIND:SOURCE`, such as `diffusion:PIPELINE+CRITIC` or
`remote:URL`.

A kind is a line of OPENERS: the function `open(source, *, device, dtype, published_contexts) -> Backend`, in a module
that is imported once that kind is chosen.
"""

import pkgutil
from pathlib import Path

from model.backends.checkpoint.loading import SHIPPED, name_of
from model.backends.contract import Backend
from model.backends.request import Task

JANUS = "janus"
DEFAULT = "embedded"
PAIRS = {  # shipped ones, by their painter's name: how they are opened, and what they have learnt, in words
    "painter": ("diffusion:painter?guidance=2&batch=16+embedded", "paints by denoising; the embedded network judges")
}
OPENERS = {
    JANUS: "model.decoding.janus_backend:open_janus",
    "diffusion": "model.backends.diffusion.backend:open_diffusion",
    "remote": "model.serving.remote_backend:open_remote",
}
NAMERS = {"remote": "model.serving.remote_backend:remote_name"}  # of kinds whose sources do not say what they hold


def open_backend(
    source: str | Path, *, device: str | None = None, dtype: str | None = None, published_contexts: bool | None = None
) -> Backend:
    """`device`, `dtype` and `published_contexts` as `open_checkpoint` takes them. Raises CheckpointError."""
    kind, rest = _parts(source)
    return pkgutil.resolve_name(OPENERS[kind])(rest, device=device, dtype=dtype, published_contexts=published_contexts)


def backend_name(source: str | Path) -> str:
    """What a backend is called once it is open: of a pair both names, without options. Raises CheckpointError."""
    kind, rest = _parts(source)
    if kind in NAMERS:
        return pkgutil.resolve_name(NAMERS[kind])(rest)
    parts = [rest] if kind == JANUS else [part.partition("?")[0] for part in str(rest).split("+")]
    return "+".join(name_of(part) for part in parts)


def is_janus(source: str | Path) -> bool:
    """Whether it is a checkpoint of Janus, which the trainer's methods train."""
    return _parts(source)[0] == JANUS


def may_carry_out(source: str | Path, task: Task) -> bool:
    """Whether a backend may carry out a task, as far as its source tells before it is opened: a pipeline edits no
    image, and judges one only by a critic. True for other kinds; `Backend.capabilities` says what they can do."""
    kind, rest = _parts(source)
    if kind != "diffusion":
        return True
    return task is Task.DRAW or (task is Task.JUDGE and "+" in str(rest))


def painter_source(source: str | Path) -> str:
    """What paints of a pair, without its critic."""
    kind, rest = _parts(source)
    return str(rest) if kind == JANUS else f"{kind}:{str(rest).partition('+')[0]}"


def description(name: str) -> str | None:
    """What a shipped checkpoint, or pair, has learnt, in words; None for others."""
    known = {backend_name(source): words for source, words in PAIRS.values()}
    return (SHIPPED | known).get(name)


def _parts(source: str | Path) -> tuple[str, str | Path]:
    source, _ = PAIRS.get(str(source), (source, ""))
    kind, colon, rest = str(source).partition(":")
    return (kind, rest) if colon and kind in OPENERS else (JANUS, source)

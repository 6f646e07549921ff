"""Splits without leakage: rows that share a prompt or show nearly the same image are in one split, for every seed.

Prompts are compared without case, punctuation at the ends and repeated spaces; images by a difference hash of
HASH² bits per colour (Krawetz, 2013). Groups are joined by union–find; a group's split follows from the seed and the
smallest hash in it, so that an export of the same rows is split alike.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image as Picture

from annotations.errors import NotFoundError
from annotations.export.annotated_trajectories import annotated_trajectories
from annotations.export.kind import ExportKind
from annotations.export.manifest import TRAIN
from annotations.export.query import Query
from annotations.schema.names import name_key
from annotations.store.store import Store
from model.trajectory import Image, Source, Trajectory

HASH = 12  # bits to a side
BANDS = 6  # of a hash; near duplicates share one at least
NEAR = 4  # bits in which near duplicates differ at most; fewer than BANDS, so that one band is the same

Splitter = Callable[[Trajectory], str]


def splitter(store: Store, kind: ExportKind, query: Query) -> Splitter:
    """The split of each trajectory. Reads all pictures once where there are splits beside `train`."""
    if not query.splits:
        return lambda trajectory: TRAIN
    groups = _Groups()
    for annotated in annotated_trajectories(store, query, everything=kind.everything):
        others = [group.other for group in annotated.groups if group.other is not None]
        for trajectory in (annotated.trajectory, *others):
            groups.add(annotated.trajectory, trajectory, [*_pictures(store, trajectory)])
    names = groups.names()

    def split_of(trajectory: Trajectory) -> str:
        return choose(names.get(prompt_key(trajectory.prompt), prompt_key(trajectory.prompt)), query)

    return split_of


def choose(group: str, query: Query) -> str:
    """A split by the group's name: HMAC-like SHA-256 of seed and name as a number from 0 to 1."""
    digest = hashlib.sha256(f"{query.seed}:{group}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    for split in query.splits:
        if place < split.share:
            return split.name
        place -= split.share
    return TRAIN


def prompt_key(prompt: str) -> str:
    """A hash of the prompt without what no drawing depends on: case, blanks, composition and width of letters, what is
    not seen, and punctuation at the ends."""
    plain = name_key(prompt)
    plain = plain.strip("".join({c for c in plain if c == " " or unicodedata.category(c)[0] == "P"}))
    return hashlib.sha256(plain.encode(errors="surrogatepass")).hexdigest()[:32]


def difference_hash(png: bytes) -> np.ndarray:
    """(3 · HASH²) bits: whether each pixel of a thumbnail is brighter than its left neighbour, per colour."""
    with Picture.open(io.BytesIO(png)) as opened:
        small = opened.convert("RGB").resize((HASH + 1, HASH), Picture.Resampling.BILINEAR)
    pixels = np.asarray(small, dtype=np.int16)
    return (pixels[:, 1:] > pixels[:, :-1] + 2).reshape(-1)


def _pictures(store: Store, trajectory: Trajectory) -> Iterator[bytes]:
    for segment in trajectory.segments:
        if isinstance(segment, Image | Source) and segment.sha256:
            try:
                yield store.picture(segment.sha256)
            except NotFoundError:
                continue


class _Groups:
    """Prompts joined by being drawn alike."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._bands: dict[tuple[int, bytes], list[tuple[np.ndarray, str]]] = defaultdict(list)

    def add(self, first: Trajectory, trajectory: Trajectory, pngs: list[bytes]) -> None:
        """`trajectory` is in a row of `first`'s."""
        key = self._root(prompt_key(trajectory.prompt))
        self._join(key, prompt_key(first.prompt))
        for png in pngs:
            self._join(key, hashlib.sha256(png).hexdigest())
            bits = difference_hash(png)
            if not bits.any():  # an even image has no near duplicates, only equal ones
                continue
            for band, part in enumerate(np.array_split(bits, BANDS)):
                alike = self._bands[band, np.packbits(part).tobytes()]
                for other, owner in alike:
                    if int((other != bits).sum()) <= NEAR:
                        self._join(key, owner)
                if not any(np.array_equal(other, bits) for other, _ in alike):
                    alike.append((bits, key))

    def names(self) -> dict[str, str]:
        """Of the key of every prompt and image, the name of its group."""
        return {key: self._root(key) for key in self._parents}

    def _root(self, key: str) -> str:
        self._parents.setdefault(key, key)
        while (parent := self._parents[key]) != key:
            self._parents[key] = self._parents[parent]
            key = parent
        return key

    def _join(self, key: str, other: str) -> None:
        first, second = sorted((self._root(key), self._root(other)))
        self._parents[second] = first

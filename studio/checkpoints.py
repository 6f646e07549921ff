"""Which networks draw here: the first is loaded at the start, any other when somebody first chooses it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from model.checkpoint import CheckpointError, name_of, open_checkpoint
from studio.generator import Generator


class Checkpoints:
    """Generators by the name of their checkpoint, all with one store."""

    def __init__(self, first: Generator, others: Sequence[str] = ()) -> None:
        """`others`: of the shipped ones, folders, or Hub ids. Raises CheckpointError for two of one name."""
        self.first = first
        self._loaded = {first.janus.name: first}
        self._sources = {name_of(source): source for source in others}
        self._loading = threading.Lock()
        if len(self.names) < 1 + len(others):
            raise CheckpointError(f"of {', '.join([first.janus.name, *others])} two have one name; rename a folder")

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([self.first.janus.name, *self._sources]))

    def named(self, name: str | None) -> Generator:
        """The generator of a checkpoint, the first's for no name. Raises CheckpointError."""
        if not name:
            return self.first
        with self._loading:
            if name not in self._loaded:
                if name not in self._sources:
                    raise CheckpointError(f"{name[:80]} does not draw here; there are: {', '.join(self.names)}")
                self._loaded[name] = Generator(open_checkpoint(self._sources[name]), self.first.store)
            return self._loaded[name]

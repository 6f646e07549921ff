"""Engines by checkpoint name: the first is given, others are loaded when first chosen."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from model.backends.checkpoint import CheckpointError, name_of, open_checkpoint
from model.backends.janus import Janus
from studio.inference.engine_thread import Serving
from studio.inference.generator import Generator
from studio.settings import Mode

log = logging.getLogger(__name__)


class Checkpoints:
    """Generators by the name of their checkpoint, all with one store."""

    def __init__(
        self,
        first: Generator,
        others: Sequence[str] = (),
        mode: Mode = Mode.LOCAL,
        serving: Callable[[Janus], Serving] | None = None,
        opening: Callable[[str], Janus] = open_checkpoint,
    ) -> None:
        """`others`: of the shipped ones, folders, or Hub ids. Visitors (`mode`) never learn where these lie.
        `serving`: what makes their events, see Generator; `opening`: how one is opened. Raises CheckpointError for two
        of one name.
        """
        self.first = first
        self._mode = mode
        self._serving = serving
        self._opening = opening
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
        if (loaded := self._loaded.get(name)) is not None:  # nobody waits while another is being loaded
            return loaded
        with self._loading:
            if name not in self._loaded:
                if name not in self._sources:
                    raise CheckpointError(f"{name[:80]} does not draw here; there are: {', '.join(self.names)}")
                self._loaded[name] = self._opened(name)
            return self._loaded[name]

    def _opened(self, name: str) -> Generator:
        try:
            janus = self._opening(self._sources[name])
            serving = self._serving(janus) if self._serving else None
            return Generator(janus, self.first.store, serving, share=self.first.share)
        except (CheckpointError, RuntimeError) as error:  # the latter where there is no room for a cache
            if self._mode is Mode.LOCAL:
                raise CheckpointError(str(error)) from error
            log.error("%s", error)
            raise CheckpointError(f"{name} cannot be opened at the moment; choose another checkpoint") from None

"""Generators by checkpoint name: the first is given, others are loaded when first chosen.

One that was added while the studio runs (a training run's) is loaded again where its folder has been saved since.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from model.backends.checkpoint.stamp import folder_stamp
from model.backends.contract import Backend, CheckpointError
from model.backends.registry import backend_name, may_carry_out, open_backend
from model.backends.request import Task
from studio.inference.generator import Generator
from studio.inference.request_queue import Serving
from studio.settings import Mode

log = logging.getLogger(__name__)


class Checkpoints:
    """Generators by the name of their checkpoint, all with one store."""

    def __init__(
        self,
        first: Generator,
        others: Sequence[str] = (),
        mode: Mode = Mode.LOCAL,
        serving: Callable[[Backend], Serving] | None = None,
        opener: Callable[[str], Backend] = open_backend,
    ) -> None:
        """`others`: as `open_backend` takes them. Visitors (`mode`) never learn where these lie.
        `serving`: what makes their events, see Generator; `opener`: opens one. Raises CheckpointError for two
        of one name.
        """
        self.first = first
        self._mode = mode
        self._serving = serving
        self._opener = opener
        self._loaded = {first.name: first}
        self._sources = {backend_name(source): source for source in others}
        self._added: dict[str, list[tuple[str, int, int]]] = {}  # stamps of folders when they were loaded
        self._loading = threading.Lock()
        if len(self.names) < 1 + len(others):
            raise CheckpointError(f"of {', '.join([first.name, *others])} two have one name; rename a folder")
        self.in_menus = self.names  # those that the pages' menus were built with

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([self.first.name, *self._sources]))

    def names_for(self, task: Task) -> list[str]:
        """The checkpoints that can carry out a task, as far as it is known of those that are not open yet."""
        return [name for name in self.names if self._can(name, task)]

    def _can(self, name: str, task: Task) -> bool:
        loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded.backend.capabilities.includes(task)
        return name in self._sources and may_carry_out(self._sources[name], task)

    def named(self, name: str | None) -> Generator:
        """The generator of a checkpoint, the first's for no name. Raises CheckpointError."""
        if not name:
            return self.first
        loaded = self._loaded.get(name)
        if loaded is not None and (self._loading.locked() or not self._is_outdated(name)):
            return loaded  # nobody waits while another is being loaded
        with self._loading:
            if name not in self._loaded:
                if name not in self._sources:
                    raise CheckpointError(f"{name[:80]} does not draw here; there are: {', '.join(self.names)}")
                self._load(name)
            elif self._is_outdated(name):
                try:
                    self._load(name)
                except CheckpointError as error:  # as while a run replaces the folder
                    log.warning("%s is drawn with as it was saved before: %s", name, error)
            return self._loaded[name]

    def loaded(self, name: str | None) -> Generator | None:
        """The generator of a checkpoint where it has been opened, the first's for no name."""
        return self._loaded.get(name or self.first.name)

    def _load(self, name: str) -> None:
        """Open or reopen a checkpoint and note the stamp of its folder. Raises CheckpointError."""
        added = name in self._added
        stamp = folder_stamp(Path(self._sources[name])) if added else []  # first, so that a save meanwhile is noticed
        self._loaded[name] = self._opened(name)
        if added:
            self._added[name] = stamp

    def _is_outdated(self, name: str) -> bool:
        """Whether the folder of an added checkpoint was saved again after it was loaded."""
        stamp, source = self._added.get(name), self._sources.get(name)
        return stamp is not None and source is not None and folder_stamp(Path(source)) != stamp

    def add(self, source: str) -> str:
        """Offer one more checkpoint, loaded when it is first chosen; returns its name. Raises CheckpointError where
        another one has this name, and on a lent GPU, where all are loaded at the start."""
        name = backend_name(source)
        with self._loading:
            if self._serving is not None:
                raise CheckpointError("on a GPU that is lent, only what the settings name can draw")
            if name in self.names and self._sources.get(name) != source:
                raise CheckpointError(f"another checkpoint is called {name} already; rename a folder")
            if name not in self._sources:
                self._added[name] = []
            self._sources[name] = source
        return name

    def remove(self, source: str) -> None:
        """Withdraw a checkpoint that was added; drawings under way are finished with it."""
        with self._loading:
            name = backend_name(source)
            if self._sources.get(name) == source:
                del self._sources[name]
                self._added.pop(name, None)
                self._loaded.pop(name, None)

    def _opened(self, name: str) -> Generator:
        try:
            backend = self._opener(self._sources[name])
            serving = self._serving(backend) if self._serving else None
            return Generator(backend, self.first.store, serving, share=self.first.share)
        except (CheckpointError, RuntimeError) as error:  # the latter where there is no room for a cache
            if self._mode is Mode.LOCAL:
                raise CheckpointError(str(error)) from error
            log.error("%s", error)
            raise CheckpointError(f"{name} cannot be opened at the moment; choose another checkpoint") from None


@dataclass(frozen=True)
class PersonalCheckpoints:
    """The studio's checkpoints for one person: `own`, the one taught by them, replaces the one called `replaced`."""

    shared: Checkpoints
    own: Generator | None = None
    replaced: str = ""

    @property
    def names(self) -> list[str]:
        return self.shared.names

    @property
    def first(self) -> Generator:
        return self.shared.first

    def loaded(self, name: str | None) -> Generator | None:
        """As `Checkpoints.loaded`."""
        return self._taught(name) or self.shared.loaded(name)

    def named(self, name: str | None) -> Generator:
        """As `Checkpoints.named`."""
        return self._taught(name) or self.shared.named(name)

    def _taught(self, name: str | None) -> Generator | None:
        is_own = self.own is not None and (name or self.shared.first.name) in (self.replaced, self.own.name)
        return self.own if is_own else None


def menu(checkpoints: Checkpoints, **more: Any) -> Any:
    """Gradio update of a menu of checkpoints; a skip where the names are those that the page was built with."""
    names = checkpoints.names
    if names == checkpoints.in_menus and not more:
        return gr.skip()
    return gr.update(choices=names, visible=len(names) > 1, **more)

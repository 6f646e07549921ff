"""Version and source of the weights that all replicas serve. No torch, no Ray."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Update:
    """What is to be served from now on."""

    version: int
    source: str = ""  # a checkpoint, as `open_backend` takes it; empty: the one that is open
    weights: bytes = b""  # a safetensors file of parameters that replace its own; empty: none


class Weights:
    """The last checkpoint, and the last weights that were sent after it."""

    def __init__(self) -> None:
        self._update = Update(0)

    def publish(self, source: str, weights: bytes) -> int:
        """Its version."""
        self._update = Update(self._update.version + 1, source or self._update.source, weights)
        return self._update.version

    def after(self, version: int, source: str) -> Update | None:
        """What a replica of this version and checkpoint has to do; None where it is up to date."""
        update = self._update
        if update.version <= version:
            return None
        return replace(update, source="") if update.weights and update.source == source else update

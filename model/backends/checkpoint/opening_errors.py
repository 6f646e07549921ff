"""One-line errors for pipelines, models and checkpoints that cannot be opened: the cause, and what to do."""

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

LONGEST = 300  # characters of what a library says


def why_not(source: str | Path, error: Exception, expected: str, advice: str = "") -> str:
    """What was got of a source that is not `expected`, as the exceptions behind `error` tell it; `advice`: what to do
    where they say nothing of it."""
    for each in _chain(error):
        if isinstance(each, GatedRepoError):
            return (
                f"{source} is gated: got no token of an account that may read it; accept its terms on its page of the "
                "Hub, then run hf auth login, or set HF_TOKEN to a token of that account"
            )
        if isinstance(each, RepositoryNotFoundError):
            return (
                f"{source} could not be opened as {expected}: the Hub has none of this name, or shows it to some "
                "accounts only; check the name, or run hf auth login"
            )
    message = " ".join(str(error).split())[:LONGEST] or type(error).__name__
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        install = f"pip install {package}" if package else "install it"
        return f"{source} needs a package that is not installed: {message}; {install}, and start again"
    return f"{source} could not be opened as {expected}: {message}" + (f"; {advice}" if advice else "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it was raised from, or while handling."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        yield following
        seen.append(following)
        following = following.__cause__ or following.__context__

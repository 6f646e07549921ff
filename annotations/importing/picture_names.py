"""Resolution of a row's image file name among the files of its folder or zip.

Names are compared as whole paths; blanks around them, “./”, Windows' backslashes, the two spellings of accents (NFC,
NFD) and, where nothing else is meant, case do not count. An absolute path, of another machine, means the
file that it ends in. Knows no format and no database.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from annotations.importing.records import RowProblem

Asked = Callable[[], Iterable[str]]  # all names that a table asks for


class Names:
    """Files by their paths from a common folder. `flattened`: those came without the folders they were in.

    `asked` gives all names of a table: where two of them end in one file, neither is that file for sure.
    """

    def __init__(
        self, entries: Iterable[tuple[str, Path]], asked: Asked = lambda: (), *, flattened: bool = False
    ) -> None:
        self._asked, self._flattened = asked, flattened
        self._exact: dict[str, list[Path]] = defaultdict(list)
        self._folded: dict[str, list[Path]] = defaultdict(list)
        self._ends: dict[str, list[tuple[str, Path]]] = defaultdict(list)  # by the last part, folded
        for name, path in entries:
            plain = unicodedata.normalize("NFC", name)
            self._exact[plain].append(path)
            self._folded[plain.casefold()].append(path)
            self._ends[plain.casefold().rpartition("/")[2]].append((plain.casefold(), path))
        self._shared: set[Path] | None = None

    def find(self, name: str, place: str) -> Path | None:
        """None where no file is meant. Raises RowProblem where it could be several, or another name's."""
        parts, absolute = split(name)
        whole = "/".join(parts)
        matches = self._exact.get(whole) or self._folded.get(whole.casefold()) or self._ending(whole)
        if not matches and (absolute or self._flattened):
            matches = self._last(parts)
            if matches and self._is_shared(matches[0]):
                raise RowProblem(
                    f"{name!r}, which may be {matches[0].name!r}, as may another row's",
                    "paths of files that are there",
                    place,
                )
        if len(matches) > 1:
            raise RowProblem(
                f"{name!r}, which may be any of {len(matches)} files", "the whole path of one of them", place
            )
        return matches[0] if matches else None

    def _ending(self, whole: str) -> list[Path]:
        """Files that lie deeper than the name says."""
        folded = whole.casefold()
        last = self._ends.get(folded.rpartition("/")[2], ()) if folded else ()
        return [path for known, path in last if known.endswith(f"/{folded}")]

    def _last(self, parts: list[str]) -> list[Path]:
        """Files that the name ends in: of the ends the longest there is."""
        for start in range(1, len(parts)):
            end = "/".join(parts[start:])
            if matches := self._exact.get(end) or self._folded.get(end.casefold()) or self._ending(end):
                return matches
        return []

    def _is_shared(self, path: Path) -> bool:
        """Whether two names of the table end in this file, or one that says other folders than another's whole path."""
        if self._shared is None:
            guessed, meant = defaultdict(dict), set()
            for name in self._asked():
                parts, absolute = split(name)
                whole = "/".join(parts)
                if matches := self._exact.get(whole) or self._folded.get(whole.casefold()):
                    meant.update(matches)
                elif len(matches := self._last(parts)) == 1:
                    guessed[matches[0]][whole.casefold()] = absolute
            self._shared = {
                file for file, names in guessed.items() if len(names) > 1 or (file in meant and not all(names.values()))
            }
        return path in self._shared


def split(name: str) -> tuple[list[str], bool]:
    """The parts of a path in NFC, without what means nothing; whether it is absolute."""
    plain = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    plain = re.sub("^file:/*(?=/|[A-Za-z]:)", "", plain)
    absolute = plain.startswith("/") or re.match("[A-Za-z]:", plain) is not None
    return [part for part in re.sub("^[A-Za-z]:", "", plain).split("/") if part not in ("", ".")], absolute


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path leads into a resolved folder, or, from a snapshot in the Hub's cache, to the blobs that it links
    to."""
    blobs = [parent.with_name("blobs") for parent in folder.parents if parent.name == "snapshots"]
    return any(path.resolve().is_relative_to(place) for place in (folder, *blobs))


class Folder:
    """Reads files that a record names, inside one folder only: a record may come from a stranger.

    They are looked for in `beside`, the folder of the table, then in all of `folder`.
    """

    def __init__(
        self, folder: Path, beside: Path | None = None, asked: Asked = lambda: (), *, flattened: bool = False
    ) -> None:
        self._inside, self._beside = folder.resolve(), (beside or folder).resolve()
        self._asked, self._flattened = asked, flattened
        self._names: Names | None = None

    def __call__(self, name: str, place: str) -> bytes:
        """The content. Raises RowProblem."""
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            raise RowProblem(repr(name)[:80], "the name of a picture", place)
        try:
            path = self._find(name, place)
            if not path.is_file():  # a pipe would be waited for
                raise ValueError("it is no file")
            return path.read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise RowProblem(
                f"{name[:200]!r}, which cannot be read ({reason})",
                f"a file in {self._inside} (--images names another folder)",
                place,
            ) from error

    def _find(self, name: str, place: str) -> Path:
        for base in (self._beside, self._inside):
            path = base / name
            if is_inside(path, self._inside) and path.is_file():
                return path
        parts, absolute = split(name)
        match = None if ".." in parts else self._all().find(name, place)
        if match is not None and is_inside(match, self._inside):
            return match
        if match is not None and match.exists():
            raise RowProblem(f"{name!r}, a link that leads out of {self._inside}", "the file itself", place)
        if ".." in parts or absolute:
            expected = "one inside it (--images names it)"
            raise RowProblem(f"the path {name!r}, which leads out of {self._inside}", expected, place)
        raise FileNotFoundError(2, "No such file or directory")

    def _all(self) -> Names:
        if self._names is None:
            paths = (Path(top, file) for top, _, files in os.walk(self._inside) for file in files)
            entries = ((path.relative_to(self._inside).as_posix(), path) for path in paths)
            self._names = Names(entries, self._asked, flattened=self._flattened)
        return self._names

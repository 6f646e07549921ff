"""Tables and image folders among the files of an import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from annotations.errors import ImportingError
from annotations.export.manifest import read_manifest
from annotations.importing.archives import TABLES, UnpackedFolder, unpacked
from annotations.importing.picture_names import is_inside

AUTO = "auto"  # the format that the first rows have
FOLDER = "folder"  # the format whose pictures lie beside its table
USUAL = "metadata"  # name of the table in an image folder of the Hub


@dataclass(frozen=True)
class TableSource:
    """A table, or a folder that a format reads by itself. Paths in it are looked up beside it, then in `images`."""

    path: Path
    images: Path | None
    name: str  # for messages
    flattened: bool = False  # its pictures came without the folders that they were in
    columns: Mapping[str, str] = field(default_factory=dict)  # what a mapping calls columns of the table


@contextmanager
def laid_out(files: Sequence[Path], format: str) -> Iterator[list[TableSource]]:
    """What uploaded files hold: the tables of each zip with its own pictures, a table beside zips with all of theirs.

    Raises ImportingError and DiskFullError.
    """
    if not files:
        raise ImportingError("got no file; choose the file with the records, and their pictures with it")
    with unpacked(files) as places:
        sources_of = [(place, _in_place(place, format)) for place in places]
        loose = [source for place, sources in sources_of for source in sources if place.flattened]
        packed = [source for place, sources in sources_of for source in sources if not place.flattened]
        if loose and not packed and len(places) > 1:  # the zips hold the pictures of the table
            root = places[0].folder.parent
            yield [TableSource(source.path, root, source.name, flattened=True) for source in loose]
        elif not loose + packed:
            raise ImportingError(f"got no table; wanted a file that ends in {', '.join(TABLES)}")
        else:
            yield loose + packed


def _in_place(place: UnpackedFolder, format: str) -> list[TableSource]:
    folder = _descended(place.folder)
    if not any(file.suffix.lower() in TABLES for file in folder.rglob("*") if file.is_file()):
        return []
    if format == AUTO:
        tables = [source.path for source in sources_of(folder, None)]
    else:
        tables = tables_in(folder) if format == FOLDER else _only_table(folder)
    several = len(tables) > 1
    apart = several and format != AUTO  # each with pictures beside it
    return [
        TableSource(table, table.parent if apart else folder, _called(place, table, several), place.flattened)
        for table in tables
    ]


def _called(place: UnpackedFolder, table: Path, several: bool) -> str:
    inside = table.relative_to(place.folder).as_posix()
    return inside if not place.name else f"{place.name}: {inside}" if several else place.name


def _descended(folder: Path) -> Path:
    inside = list(folder.iterdir())
    return _descended(inside[0]) if len(inside) == 1 and inside[0].is_dir() else folder


def _only_table(folder: Path) -> list[Path]:
    tables = [file for file in folder.iterdir() if file.suffix.lower() in TABLES]
    return tables if len(tables) == 1 else [folder]


def sources_of(folder: Path, images: Path | None) -> list[TableSource]:
    """What a folder of any format holds: the files of an export, Parquet shards, tars, trajectories, or tables.

    Raises ImportingError for none, and for a manifest that names files elsewhere.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        tables = [folder / file.name for file in manifest.files]
        inside = [is_inside(table, folder.resolve()) and table.is_file() for table in tables]
        if not tables or not all(inside):
            raise ImportingError(f"{folder.name} has a manifest that names files which are not in it; get it again")
    elif any(folder.glob("[!_]*.parquet")) or any(folder.rglob("trajectory.json")) or _is_of_json(folder):
        tables = [folder]
    else:
        tables = sorted(folder.glob("*.tar")) or tables_in(folder)
    return [TableSource(table, images or folder, table.relative_to(folder.parent).as_posix()) for table in tables]


def _is_of_json(folder: Path) -> bool:
    """Whether its tables are several JSON files, as drawings are kept one by one."""
    tables = [file for file in folder.iterdir() if file.suffix.lower() in TABLES]
    return len(tables) > 1 and all(file.suffix.lower() == ".json" for file in tables)


def tables_in(folder: Path) -> list[Path]:
    """The table of a folder of pictures, or that of each folder in it. Raises ImportingError where that is in doubt."""
    tables = sorted(file for file in folder.rglob("*") if file.suffix.lower() in TABLES and file.is_file())
    beside = [file for file in tables if file.parent == folder] or tables
    chosen = []
    for parent in sorted({file.parent for file in beside}):
        here = [file for file in beside if file.parent == parent]
        usual = [file for file in here if file.stem.lower() == USUAL]
        plain = [file for file in here if file.suffix.lower() in (".csv", ".tsv")]
        best = usual or plain or here
        if len(best) != 1:
            names = ", ".join(file.name for file in best[:5])
            raise ImportingError(f"{parent.name} holds {len(best)} tables ({names}), wanted one; name it")
        chosen += best
    if not chosen:
        raise ImportingError(f"{folder.name} holds 0 tables, wanted one; give a file that ends in {', '.join(TABLES)}")
    return chosen

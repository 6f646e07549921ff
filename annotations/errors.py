"""Exceptions of `annotations` as one tree; messages say what was got, what was wanted and what to do.

AnnotationsError
├── NotFoundError           no such trajectory, picture or annotation, or it is hidden
├── TrajectoryError         a trajectory that cannot be stored
├── PictureError            not a PNG, or not the one its name promises
│   └── UnwrittenError      … or it could not be written: no room, or its storage is away
├── AnswerError             an answer that does not fit its question
├── ConflictError           an id or a key that already stands for something else
├── ProjectError            a project, or an item of one, that cannot be as it is wanted
├── LeaseError              an item that somebody no longer holds, and that others have completed
├── PersonError             an account that cannot be made or changed as it is wanted
│   └── SignInError         … or entered
├── PromptBlockedError      a prompt with a word that the studio does not draw
├── DatabaseError           the database cannot be opened, read or written
│   ├── DirectoryError      … because of its folder
│   ├── BusyError           … because another process holds it
│   ├── AwayError           … because its server is away; what was asked may be asked again
│   └── MigrationError      … because its tables are not the ones wanted
├── DiskFullError           the disk of temporary folders is full
├── ImportingError          a file that cannot be imported, or rows of it
├── BackupError             a backup that could not be made or restored
└── ExportError
    └── NothingToExportError
"""

import re


class AnnotationsError(Exception):
    """The root: catch this one to catch them all."""


class NotFoundError(AnnotationsError):
    """No such thing, or it is hidden; the two are not told apart on purpose."""


class TrajectoryError(AnnotationsError):
    """A trajectory that cannot be stored as it is."""


class PictureError(AnnotationsError):
    """Bytes that are no PNG, or not those their hash promises."""


class UnwrittenError(PictureError):
    """A picture could not be written: there is no room, or its storage is away; it may be tried again."""


class AnswerError(AnnotationsError):
    """An answer that does not fit its question."""


class ConflictError(AnnotationsError):
    """An id or an idempotency key that already stands for something else."""


class ProjectError(AnnotationsError):
    """A project, its questions or its items cannot be as they are wanted."""


class LeaseError(AnnotationsError):
    """The time on an item ran out and others have completed it, so that one more answer would be too many."""


class PersonError(AnnotationsError):
    """An account cannot be made or changed as it is wanted."""


class SignInError(PersonError):
    """A name and a password that do not open an account, or too many tries."""


class PromptBlockedError(AnnotationsError):
    """A prompt with a word that the studio does not draw."""


class DatabaseError(AnnotationsError):
    """The database cannot be opened, read or written."""


class DirectoryError(DatabaseError):
    """The folder of the database is missing or cannot be written."""


class BusyError(DatabaseError):
    """Another process holds the database."""


class AwayError(DatabaseError):
    """The server of the database is away, or went away half-way."""


class MigrationError(DatabaseError):
    """The tables are not the ones this code knows, and could not be made so."""


class DiskFullError(AnnotationsError):
    """The disk of temporary folders is full, or would be."""


class ImportingError(AnnotationsError):
    """A file that cannot be imported as a whole."""


class BackupError(AnnotationsError):
    """A backup that could not be made or restored."""


class ExportError(AnnotationsError):
    """A data set that cannot be written where it was wanted."""


class NothingToExportError(ExportError):
    """No annotation makes an example of the kind that was asked for."""


# What stands in messages of drivers and of the system, and says where a server keeps its things.
PATHS_AND_URLS = re.compile(
    r"""connection\s(?:to\sserver\s)?(?:on\ssocket|at)\s.*?\sfailed:\s*  # whom a driver of PostgreSQL could not reach
    | \b(?:postgres\w*|sqlite|file)(?:\+\w+)?:/{1,4}[^\s'"“”<>]+  # URLs with an account or a file in them
    | (?<=['"“])(?:~?/|[A-Za-z]:\\)[^'"“”]+(?=['"”])  # a quoted path, which may hold spaces
    | (?<![\w./:<…])~?/[^\s'"“”<>:;,()]+  # a path on Linux or macOS
    | \b[A-Za-z]:\\[^\s'"“”<>;,()]+  # a path on Windows""",
    re.VERBOSE,
)


def redact_paths(message: object) -> str:
    """A message as anybody may read it: without URLs of databases, sockets, and absolute paths, each given as “…”."""
    return PATHS_AND_URLS.sub("…", str(message))

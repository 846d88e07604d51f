"""Says which files a path, a folder or a pattern names, and whether one of them would be written over.

In a folder the files are the parts of one table, as warehouses and Spark write them. Beside the parts lie
files that hold no rows, and what is left of a job that was not done: then some parts are missing, or are
there twice, and the folder is refused.
"""

from __future__ import annotations

import glob
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from formant_provider.api.errors import InputNotFound, InvalidInput
from formant_provider.core.numbers.in_text import without_numbers

T = TypeVar("T")

# Of Athena, Redshift and Hadoop; what Excel puts beside a workbook that is open;
# and what editors and people leave of an older version.
_NO_PARTS = re.compile(
    r".*(\.metadata|manifest|manifest\.json|-manifest\.csv|\.crc|_\$folder\$|~|\.bak|\.old|\.orig|\.swp)|~\$.*"
)
_UNFINISHED = {
    re.compile(
        r"_temporary|__magic.*|\.spark-staging.*"
    ): "a job is writing it still, or failed in the middle",
    re.compile(
        r".*\._COPYING_|.*\.inprogress(\..*)?|.*\.(part|partial|filepart|tmp|temp|crdownload|download)",
        re.IGNORECASE,
    ): "a file in it is being written still",
}
_TABLES = {"_delta_log": "Delta", ".hoodie": "Hudi"}
# Names that lead to the same storage.
_SAME_STORAGE = {"": "file", "local": "file", "s3a": "s3", "gcs": "gs", "abfss": "abfs", "wasbs": "wasb"}


class Part(NamedTuple):
    """One of the files that a table is in.

    :param name: where it lies below the folder; ``None`` if the table is in this file alone.
    """

    name: str | None
    opened: Callable[[], AbstractContextManager[IO[bytes]]]

    def open(self, field: str) -> AbstractContextManager[IO[bytes]]:
        """Open it.

        A file that is not there may be written yet, by another program or in a storage that shows it late, so
        that is for a retry to find out. What is no file will be none next time.
        """
        try:
            return self.opened()
        except FileNotFoundError as error:
            path = without_numbers(str(error.filename or self.name or "the file that it names"))
        except (IsADirectoryError, NotADirectoryError):
            path = None
        if path is None:
            raise InvalidInput(field, "must name a file: this is a folder, or lies below a file")
        raise InputNotFound(
            field,
            f"{path}: No such file or directory. If it is written later, a retry finds it; a sensor can wait",
        )

    def named(self, read: Callable[[], T]) -> T:
        """Read, and name the part in an error."""
        try:
            return read()
        except InvalidInput as error:
            fault = error
        # Raised after the other one was handled, which would come along otherwise.
        if self.name is None:
            raise InvalidInput(fault.field, fault.reason)
        name = self.name if self.name.isprintable() else repr(self.name)
        raise InvalidInput(fault.field, f"part {name}: {fault.reason}")


class Entry(NamedTuple):
    """What lies in a folder."""

    name: str
    size: int | None
    is_folder: bool = False


def choose_parts(field: str, entries: Iterable[Entry]) -> list[str]:
    """Return which entries of a folder are parts, in the order in which a person counts."""
    visible = [entry for entry in entries if not _is_hidden(entry.name)]
    folders = [entry.name for entry in visible if entry.is_folder]
    if folders:
        raise InvalidInput(
            field,
            f"has {len(folders)} folders in it; if all of them are meant, name the files as folder/**/*",
        )
    return found_parts(field, visible)


def found_parts(field: str, entries: Iterable[Entry]) -> list[str]:
    """Return which of the entries that a pattern matches are parts, in the order in which a person counts."""
    names = [entry.name for entry in entries if not entry.is_folder and entry.size != 0]
    parts = sorted((name for name in names if not _is_hidden(name)), key=in_order)
    if not parts:
        raise InvalidInput(
            field,
            "names no file with rows: the folder is empty, or nothing matches. Perhaps it is not written yet",
        )
    return parts


def check_finished(field: str, names: Iterable[str]) -> None:
    """Refuse a folder that is not whole, or whose files are not all valid."""
    known = {name.rstrip("/") for name in names}
    for name in known:
        for pattern, meaning in _UNFINISHED.items():
            if pattern.fullmatch(name):
                raise InvalidInput(field, f"is not complete: {meaning}")
        if name in _TABLES:
            raise InvalidInput(
                field,
                f"is a {_TABLES[name]} table, with files of older versions in it; export it to a folder",
            )
        if name.startswith("_started_") and name.replace("_started_", "_committed_", 1) not in known:
            raise InvalidInput(field, "is not complete: a job has started to write it and has not committed")


def in_order(name: str) -> list[tuple[int, str]]:
    """Return by what names are sorted, so that part-10 comes after part-9."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name)]


def has_pattern(place: str) -> bool:
    """Whether a path may be a pattern, with ``*``, ``?`` or ``[``."""
    return glob.has_magic(place)


def local_parts(place: str | Path, field: str = "contacts") -> list[Part]:
    """Return the files that a path on this machine names: a file, a folder or a pattern."""
    path = Path(place)
    if has_pattern(str(path)) and not path.exists():
        return _matching(field, path)
    if not path.is_dir():
        return [Part(None, _opener(path))]
    entries = _entries(path, path.iterdir())
    check_finished(field, (entry.name for entry in entries))
    return [Part(name, _opener(path / name)) for name in choose_parts(field, entries)]


def _matching(field: str, pattern: Path) -> list[Part]:
    root = next(parent for parent in pattern.parents if not has_pattern(str(parent)))
    matches = list(map(Path, glob.glob(str(pattern), recursive=True)))
    for folder in {match.parent for match in matches}:
        check_finished(field, os.listdir(folder))
    return [Part(name, _opener(root / name)) for name in found_parts(field, _entries(root, matches))]


def _entries(root: Path, paths: Iterable[Path]) -> list[Entry]:
    return [
        Entry(path.relative_to(root).as_posix(), path.stat().st_size, path.is_dir()) for path in list(paths)
    ]


def _opener(path: Path) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: path.open("rb")


def _is_hidden(name: str) -> bool:
    # A column that a table is parted by may begin with an underscore.
    pieces = [piece for piece in name.split("/") if piece.startswith((".", "_")) and "=" not in piece]
    return bool(pieces) or _NO_PARTS.fullmatch(name.rpartition("/")[2]) is not None


def refuse_overlap(read: Mapping[str, str], written: Mapping[str, str]) -> None:
    """Refuse to write a file where one is read (it would be lost, or read next time), or two to one place.

    Places are compared as text, a local one without its links. Nothing is asked of a remote storage.

    :param read: URIs or paths of files, folders or patterns, by the name of the field.
    """
    inputs = {field: _pieces(place) for field, place in read.items()}
    done: dict[str, list[str]] = {}
    for field, place in written.items():
        output = _pieces(place)
        for other, pieces in inputs.items():
            if _reads(pieces, output):
                raise InvalidInput(field, f"is where {other} is read: write it to another folder or name")
        for other, pieces in done.items():
            if pieces == output:
                raise InvalidInput(field, f"is where {other} is written as well: give each a file of its own")
        done[field] = output


def local_files(place: str) -> list[Path]:
    """Return the files on this machine that a path, a folder or a pattern may mean."""
    path = Path(place)
    if path.is_dir():
        return list(path.iterdir())
    return [path] if path.exists() else list(map(Path, glob.glob(place, recursive=True)))


def _reads(pieces: Sequence[str], output: Sequence[str]) -> bool:
    """Whether what is read is a file, a folder around it, or a pattern that it matches."""
    is_inside = list(output[: len(pieces)]) == list(pieces)
    return is_inside or (has_pattern("/".join(pieces)) and _matches(pieces, output))


def _matches(pattern: Sequence[str], pieces: Sequence[str]) -> bool:
    if not pattern:
        return not pieces
    first, *rest = pattern
    if first == "**":  # any number of folders, also none
        return any(_matches(rest or ["*"], pieces[place:]) for place in range(len(pieces)))
    return bool(pieces) and fnmatchcase(pieces[0], first) and _matches(rest, pieces[1:])


def _pieces(place: str) -> list[str]:
    """Return storage, bucket and names of a place, alike for all ways to write it."""
    scheme, separator, rest = place.strip().partition("://")
    if not separator:
        scheme, rest = "", place.strip()
    scheme = _SAME_STORAGE.get(scheme.lower(), scheme.lower())
    if scheme == "file":
        return [scheme, *filter(None, os.path.realpath(rest).split("/"))]
    bucket, _, path = rest.partition("/")
    # In front of an @ is the id of the connection: two of them may lead to one bucket.
    names = posixpath.normpath(f"/{path}").strip("/").split("/")
    return [scheme, bucket.rpartition("@")[2], *filter(None, names)]

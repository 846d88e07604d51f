"""Tells which files of a folder are the parts of one table, as warehouses and Spark write them.

Beside the parts lie files that hold no rows, and what is left of a job that was not done: then some parts are
missing, or are there twice, and the folder is refused.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NamedTuple

from formant_provider.api.errors import InvalidInput

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


class Part(NamedTuple):
    """One of the files that a table is in.

    :param name: where it lies below the folder; ``None`` if the table is in this file alone.
    :param opened: opens it, so that it can be read from any place.
    """

    name: str | None
    opened: Callable[[], AbstractContextManager[IO[bytes]]]


class Entry(NamedTuple):
    """What lies in a folder.

    :param name: with the folders that lead to it, parted by slashes.
    :param size: in bytes; ``None`` if nobody knows.
    """

    name: str
    size: int | None
    is_folder: bool = False


def choose_parts(field: str, entries: Iterable[Entry]) -> list[str]:
    """Return which entries of a folder are parts, in the order in which a person counts.

    :param field: to be named in an error.
    :raises InvalidInput: there is none, or not only parts of one table.
    """
    visible = [entry for entry in entries if not _is_hidden(entry.name)]
    folders = [entry.name for entry in visible if entry.is_folder]
    if folders:
        raise InvalidInput(
            field,
            f"has {len(folders)} folders in it; if all of them are meant, name the files as folder/**/*",
        )
    return found_parts(field, visible)


def found_parts(field: str, entries: Iterable[Entry]) -> list[str]:
    """Return which of the entries that a pattern matches are parts, in the order in which a person counts.

    :raises InvalidInput: there is none.
    """
    names = [entry.name for entry in entries if not entry.is_folder and entry.size != 0]
    parts = sorted((name for name in names if not _is_hidden(name)), key=in_order)
    if not parts:
        raise InvalidInput(
            field,
            "names no file with rows: the folder is empty, or nothing matches. Perhaps it is not written yet",
        )
    return parts


def check_finished(field: str, names: Iterable[str]) -> None:
    """Refuse a folder that is not whole, or whose files are not all valid.

    :param names: of all that lies in it.
    :raises InvalidInput: with what is found.
    """
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
    """Return the files that a path on this machine names: a file, a folder or a pattern.

    :raises InvalidInput: there is none, or the folder is not whole.
    """
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

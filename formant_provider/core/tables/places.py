"""Says whether a file would be written where another one is read, and so be lost, or be read next time.

Places are compared as text, a local one without its links. Nothing is asked of a remote storage.
"""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from formant_provider.api.errors import InvalidInput
from formant_provider.core.tables.parts import has_pattern

# Names that lead to the same storage.
_SAME_STORAGE = {"": "file", "local": "file", "s3a": "s3", "gcs": "gs", "abfss": "abfs", "wasbs": "wasb"}


def refuse_overlap(read: Mapping[str, str], written: Mapping[str, str]) -> None:
    """Refuse to write a file where one is read, or two files to one place.

    :param read: URIs or paths of files, folders or patterns, by the name of the field.
    :param written: URIs or paths of files.
    :raises InvalidInput: with the names of both fields.
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

"""Finds and opens files in any storage that Airflow knows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import quote

from formant_provider.api.errors import InvalidInput
from formant_provider.core.tables.parts import (
    Entry,
    Part,
    check_finished,
    choose_parts,
    found_parts,
    has_pattern,
)
from formant_provider.hooks.storage.errors import without_numbers_in_errors
from formant_provider.hooks.storage.paths import to_folder
from formant_provider.hooks.storage.writing import BLOCK_BYTES
from formant_provider.tasks.storage.uris import in_words, is_place

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)


def delete_file(folder: ObjectStoragePath, name: str) -> None:
    """Delete a file. One that is not there is no error: another try may have deleted it."""
    with suppress(FileNotFoundError):
        folder.fs.rm_file((folder / name).path)


def is_older(folder: ObjectStoragePath, name: str, than: datetime) -> bool:
    """Whether a file was written before an aware moment, as far as its storage knows."""
    try:
        written: datetime = folder.fs.modified((folder / name).path)
    except Exception:  # many storages do not tell, each in its own way
        return False
    return (written if written.tzinfo else written.replace(tzinfo=UTC)) < than


def safe_name(text: str) -> str:
    """Return a text as the name of one folder or file, which stays where it is put."""
    name = quote(text, safe="")
    return name if name.strip(".") else name.replace(".", "%2E")


def names_files(value: object) -> bool:
    """Whether a value is text or a path, and so must name files."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return isinstance(value, str | os.PathLike | ObjectStoragePath)


def is_table(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value may hold rows itself: a list of them, or a data frame."""
    is_iterable = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    # Some frames cannot be iterated over, and give their rows in another way.
    return is_iterable or hasattr(value, "__arrow_c_stream__") or hasattr(value, "collect")


def parts_of(field: str, place: object) -> list[Part]:
    """Return the files that a URI or an absolute path names.

    :param place: of a file; of a folder, which all parts of one table are in; or a pattern with ``*``, ``?``,
        ``[`` or ``**``, as of a shell.
    :raises InvalidInput: it names none, or a folder that is not whole; the text may be the content of a file,
        and is not quoted.
    """
    text = str(place)
    if not is_place(text):
        raise InvalidInput(field, "must be an absolute path, or a URI such as s3://connection@bucket/file")
    path = to_folder(field, text)
    files: Any = path.fs
    files.invalidate_cache()  # of listings from before the file was written
    if has_pattern(path.path) and not _is(files, path, "file"):
        return _matching(field, path)
    if text.rstrip().endswith("/") or _is(files, path, "directory"):
        return _inside(field, path)
    if not path.name:
        raise InvalidInput(field, "must name a file or a folder")
    log.info("Reading %s from %s.", field, in_words(text))
    return [Part(None, partial(open_to_read, path))]


def _inside(field: str, folder: ObjectStoragePath) -> list[Part]:
    entries = _entries(folder, folder.path)
    check_finished(field, (entry.name for entry in entries))
    return _opened(field, folder, choose_parts(field, entries))


def _matching(field: str, pattern: ObjectStoragePath) -> list[Part]:
    root = pattern
    while has_pattern(root.path):
        root = root.parent
    files: Any = pattern.fs
    found = files.glob(pattern.path, detail=True)
    matches = [_entry(root, info) for info in found.values()]
    for folder in {name.rpartition("/")[0] for name in found}:
        check_finished(field, (entry.name.rpartition("/")[2] for entry in _entries(root, folder)))
    return _opened(field, root, found_parts(field, matches))


def _entries(root: ObjectStoragePath, folder: str) -> list[Entry]:
    """List a folder, by names relative to ``root``; one that does not exist has no entries."""
    files: Any = root.fs
    files.invalidate_cache()  # which may be from before the job was done
    with suppress(FileNotFoundError):
        entries = [_entry(root, info) for info in files.ls(folder, detail=True)]
        # An object store may have an object under the name of the folder itself.
        return [entry for entry in entries if entry.name]
    return []


def _entry(root: ObjectStoragePath, info: dict[str, Any]) -> Entry:
    name = str(info["name"]).rstrip("/").removeprefix(_start(root)).lstrip("/")
    return Entry(name, info.get("size"), info["type"] == "directory")


def _start(root: ObjectStoragePath) -> str:
    files: Any = root.fs
    return str(files._strip_protocol(root.path))


def _opened(field: str, root: ObjectStoragePath, names: list[str]) -> list[Part]:
    log.info("Reading %s from %s files in %s.", field, len(names), in_words(root))
    return [Part(name, partial(open_to_read, root / name)) for name in names]


def open_to_read(path: Any) -> Any:
    """Open a file, to be read to the end that it has now.

    Some storages remember how long a file was when they listed it, and read no further. What Airflow's path
    itself opens it tells to OpenLineage by its whole address, which may hold a number or a key.
    """
    with without_numbers_in_errors():
        path.fs.invalidate_cache()
        return path.fs.open(path.path, "rb", block_size=BLOCK_BYTES)


def _is(files: Any, path: ObjectStoragePath, kind: str) -> bool:
    """Whether a path is known to be a file, or a folder; one that cannot be looked up may still be read."""
    with suppress(OSError):
        return bool(files.info(path.path)["type"] == kind)
    return False

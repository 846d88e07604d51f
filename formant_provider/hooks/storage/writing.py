"""Writes files in any storage that Airflow knows, each as a whole or not at all.

A reader never sees a part of a file under its name: not while it is written, and not after a process was
killed in the middle.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from formant_provider.hooks.storage.errors import without_numbers_in_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import ObjectStoragePath

# Writes the content of a file and returns its name.
Fill: TypeAlias = Callable[[IO[bytes]], str]

LOCAL = frozenset({"file", "local"})
# Here a file appears only when it is complete, and needs no folder.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "wasb", "wasbs", "oss"})
# How much of a file is in memory on its way to a store, or from it. S3 takes no smaller parts.
BLOCK_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True)
class Written:
    """A file that was written, and its size in bytes."""

    uri: str
    size: int


def write_file(folder: ObjectStoragePath, fill: Fill) -> Written:
    """Write a file that appears under its name once it is complete, in place of an older one.

    What ``fill`` raises leaves everything as it was.
    """
    write = _write_locally if folder.protocol in {"", *LOCAL} else _write_remotely
    with without_numbers_in_errors():
        name, size = write(folder, fill)
    return Written(str(folder / name), size)


def _write_locally(folder: ObjectStoragePath, fill: Fill) -> tuple[str, int]:
    """Write beside the final place, and rename."""
    os.makedirs(folder.path, exist_ok=True)
    part = os.path.join(folder.path, _part_name())
    try:
        with open(part, "x+b") as file:
            name = fill(file)
            file.flush()
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        os.replace(part, os.path.join(folder.path, name))
    except BaseException:  # an Airflow time-out is no Exception
        with suppress(OSError):
            os.unlink(part)
        raise
    return name, size


def _write_remotely(folder: ObjectStoragePath, fill: Fill) -> tuple[str, int]:
    """Write to this machine's disk, and send what is complete."""
    with tempfile.TemporaryFile() as file:
        name = fill(file)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if folder.protocol in _OBJECT_STORES:
            _send(file, folder.fs, (folder / name).path)
        else:
            folder.fs.makedirs(folder.path, exist_ok=True)
            part = (folder / _part_name()).path
            _send(file, folder.fs, part)
            folder.fs.mv(part, (folder / name).path)
    return name, size


def _send(file: IO[bytes], filesystem: Any, path: str) -> None:
    with _sink(filesystem, path) as sink:
        shutil.copyfileobj(file, sink)


@contextmanager
def _sink(filesystem: Any, path: str) -> Iterator[IO[bytes]]:
    """Open a file for writing and close it only after success, since closing is what makes it appear.

    A ``with`` statement of its own, or the garbage collector, would close it after an error as well.
    """
    sink = filesystem.open(path, "wb", block_size=BLOCK_BYTES)
    try:
        yield sink
        sink.close()
    except BaseException:  # also of its end: the parts of an upload lie in the store until it is discarded
        with suppress(Exception):
            sink.closed = True
            sink.discard()
        raise


def _part_name() -> str:
    # Two processes may write the same file, one of them given up by Airflow, so each has a part of its own.
    return f".{uuid.uuid4().hex}.part"

"""Finds the file or the folder that a path or a URI names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from formant_provider.hooks.storage.writing import LOCAL

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


def file_at(field: str, place: object) -> Any:
    """Return the file that a path or a URI names.

    Listings from before the file was written are forgotten: some storages read no further than a file was
    long when they listed it. It is to be opened through its ``fs``: what Airflow's path itself opens it tells
    to OpenLineage by its whole address, which may hold a number or a key.

    :raises InvalidInput: as :func:`to_file` does; or it is neither text nor a path.
    """
    folder, name = to_file(field, os.fspath(place) if isinstance(place, str | os.PathLike) else "")
    target = folder / name
    target.fs.invalidate_cache()
    return target


def to_folder(field: str, value: object) -> ObjectStoragePath:
    """Return the folder that a URI or an absolute path names.

    :raises InvalidInput: it is blank or relative, or Airflow knows no such storage.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from formant_provider.api.errors import InvalidInput

    text = str(value).strip()
    if text in {"", "None"}:
        raise InvalidInput(field, "is blank, which a template renders to when its value is missing")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "file", text
    # Where another path would lead, the task cannot know.
    if scheme in {"", *LOCAL} and not rest.startswith("/"):
        raise InvalidInput(field, "must be an absolute path, or a URI such as s3://connection@bucket/folder")
    if "\0" in text or not _can_be_written(text):
        raise InvalidInput(field, "holds what no name of a file can hold")
    try:
        path = ObjectStoragePath(text)
        _ = path.fs
    except (ImportError, ValueError) as error:
        raise InvalidInput(
            field, f"Airflow has no storage for {scheme!r} here; install the provider that brings it"
        ) from error
    return path


def to_file(field: str, value: object) -> tuple[ObjectStoragePath, str]:
    """Return the folder and the name of the file that a URI or an absolute path names.

    :raises InvalidInput: as :func:`to_folder` does; or it is a folder, or a device.
    """
    from formant_provider.api.errors import InvalidInput

    path = to_folder(field, value)
    if str(value).strip().endswith("/") or path.name in {"", ".", ".."}:
        raise InvalidInput(field, "must name a file, not a folder")
    # A file takes the place of what is there; of a device it would do so for all who use this machine.
    if path.protocol in {"", *LOCAL} and os.path.exists(path.path) and not os.path.isfile(path.path):
        raise InvalidInput(field, "must name a file, and a folder or a device is there")
    return path.parent, path.name


def _can_be_written(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True

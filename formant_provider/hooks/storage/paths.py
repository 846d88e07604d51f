"""Finds the file that a path or a URI names."""

from __future__ import annotations

import os
from typing import Any


def file_at(field: str, place: str) -> Any:
    """Return the file that a path or a URI names.

    Listings from before the file was written are forgotten: some storages read no further than a file was
    long when they listed it. It is to be opened through its ``fs``: what Airflow's path itself opens it tells
    to OpenLineage by its whole address, which may hold a number or a key.

    :raises InvalidInput: it names none, or Airflow knows no such storage.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from formant_provider.api.errors import InvalidInput

    if not isinstance(place, str | os.PathLike) or not os.fspath(place):
        raise InvalidInput(field, "must be a path or a URI, and not blank")
    try:
        target = ObjectStoragePath(os.fspath(place))
        target.fs.invalidate_cache()
    except (ImportError, ValueError):
        problem = "must be a path, or a URI of a storage that Airflow knows here"
        raise InvalidInput(field, problem) from None
    return target

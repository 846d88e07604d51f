"""Finds the file that a path or a URI names."""

from __future__ import annotations

import os
from typing import Any


def file_at(field: str, place: str) -> Any:
    """Return the file that a path or a URI names.

    Listings from before the file was written are forgotten: some storages read no further than a file was
    long when they listed it. It is to be opened through its ``fs``: what Airflow's path itself opens it tells
    to OpenLineage by its whole address, which may hold a number or a key.

    :raises InvalidInput: it is no absolute path and no URI, or Airflow knows no such storage.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from formant_provider.api.errors import InvalidInput

    text = os.fspath(place) if isinstance(place, str | os.PathLike) else ""
    # Where another path would lead, the task cannot know; one that is missing comes as the text None.
    if "://" not in text and not os.path.isabs(text):
        raise InvalidInput(field, "must be an absolute path, or a URI such as s3://connection@bucket/file")
    try:
        target = ObjectStoragePath(text)
        target.fs.invalidate_cache()
    except (ImportError, ValueError):
        problem = "must be a path, or a URI of a storage that Airflow knows here"
        raise InvalidInput(field, problem) from None
    return target

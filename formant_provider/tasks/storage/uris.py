"""What of a file's address may be told to other systems: never a password, and no address with a number."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

# Other names of the same storage.
_SAME = {"s3a": "s3", "gcs": "gs", "local": "file"}


class DatasetName(NamedTuple):
    """How lineage names a file.

    See https://openlineage.io/docs/spec/naming
    """

    namespace: str
    name: str


def dataset_name(value: object) -> DatasetName | None:
    """Return how lineage names a file; ``None`` for what is no address, or may hold a phone number.

    The name of the connection in an address is left out, as are keys in it.
    """
    from formant_provider.tasks.storage.files import is_place

    text = str(value).strip() if value is not None else ""
    if text in {"", "None"} or not is_place(text) or holds_number(text):
        return None
    uri = urlsplit(text)
    scheme = _SAME.get(uri.scheme, uri.scheme) or "file"
    if scheme == "file":
        return DatasetName("file", uri.path)
    return DatasetName(f"{scheme}://{uri.netloc.rpartition('@')[2]}", uri.path.lstrip("/") or "/")


def holds_number(address: str) -> bool:
    """Whether an address holds a phone number with its plus sign, also where that is written as ``%2B``."""
    from formant_provider.core.numbers.in_text import holds_international

    return holds_international(unquote(address))


def without_password(address: str) -> str:
    """Return an address without a password; the name of a connection stays in it."""
    uri = urlsplit(address)
    user, _, host = uri.netloc.rpartition("@")
    return urlunsplit(uri._replace(netloc=host)) if ":" in user else address

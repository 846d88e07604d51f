"""What of a file's address may be told to other systems: no key, password or signature, and no number."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

# Any other text names no file. It may be the contacts themselves, rendered to text.
_PLACE = re.compile(r"\s*(/|[A-Za-z][A-Za-z0-9+.-]*://|(None)?\s*$)")
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

    The name of the connection in an address is left out, as are keys and signatures in it.
    """
    text = str(value).strip() if value is not None else ""
    if text in {"", "None"} or not is_place(text) or holds_number(text):
        return None
    uri = _split(text)
    scheme = _SAME.get(uri.scheme, uri.scheme) or "file"
    if scheme == "file":
        return DatasetName("file", uri.path)
    return DatasetName(f"{scheme}://{uri.netloc.rpartition('@')[2]}", uri.path.lstrip("/") or "/")


def is_place(text: str) -> bool:
    """Whether a text may name a file; a blank one may, and is refused for being blank."""
    return _PLACE.match(text) is not None


def holds_number(address: str) -> bool:
    """Whether an address holds a phone number: with its plus sign, or as digits alone in the path.

    A plus sign may be written as ``%2B``. The digits in the name of a bucket are those of an account.
    """
    from formant_provider.core.numbers.in_text import holds_bare_number, holds_international

    return holds_international(unquote(address)) or holds_bare_number(unquote(_split(address).path))


def in_words(address: object) -> str:
    """Return an address as it may stand in a log or a message: without a secret, and with no phone number."""
    from formant_provider.core.numbers.in_text import without_numbers

    text = without_secrets(str(address))
    return without_numbers(unquote(text)) if holds_number(text) else text


def without_secrets(address: str) -> str:
    """Return an address without a password and a signature; the name of a connection stays in it."""
    uri = _split(address)
    user, _, host = uri.netloc.rpartition("@")
    return urlunsplit(uri._replace(netloc=host)) if ":" in user else urlunsplit(uri)


def _split(address: str) -> SplitResult:
    """Return the parts of an address without its query, which may be signed, and its fragment.

    The name of a file on this machine may hold any character.
    """
    uri = urlsplit(address)
    if _SAME.get(uri.scheme, uri.scheme) in {"", "file"}:
        whole = address.partition("://")[2] if uri.scheme else address
        return uri._replace(path=whole, query="", fragment="")
    return uri._replace(query="", fragment="")

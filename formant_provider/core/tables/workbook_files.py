"""Tells a workbook from what else is in the same containers: archives, documents, and what has a password."""

from __future__ import annotations

import zipfile
from typing import IO

from formant_provider.api.errors import InvalidInput

PASSWORD = "is a workbook with a password; save it without one"  # noqa: S105 - says so, and is none
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
_MANIFEST = "META-INF/manifest.xml"


def may_be_workbook(start: bytes) -> bool:
    """Whether a file is in one of the two containers that workbooks come in, by its first bytes."""
    return start.startswith((_OLE, _ZIP))


def check_workbook(file: IO[bytes], field: str) -> None:
    """Refuse what is no workbook, and one that cannot be opened without its password.

    :param file: in one of the two containers; it can be read from any place.
    :param field: to be named in an error.
    :raises InvalidInput: with what to do.
    """
    file.seek(0)
    if file.read(len(_ZIP)) != _ZIP:
        file.seek(0)
        if "EncryptedPackage".encode("utf-16-le") in file.read():
            raise InvalidInput(field, PASSWORD)
        return
    names, is_encrypted = _in_archive(file)
    if not names:
        raise InvalidInput(field, "is a zip archive or a workbook that is damaged or cut off")
    if is_encrypted:
        raise InvalidInput(field, PASSWORD)
    if any(name.endswith(".iwa") for name in names):
        raise InvalidInput(field, "is a document of Numbers; export it as CSV or as an Excel workbook")
    if "content.xml" not in names and not any(name.lower().startswith("xl/workbook.") for name in names):
        raise InvalidInput(field, "is a zip archive and no workbook; unpack it")


def _in_archive(file: IO[bytes]) -> tuple[set[str], bool]:
    """Return what is in an archive, and whether OpenDocument has it encrypted; nothing if it is damaged."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            return names, _MANIFEST in names and b"encryption-data" in archive.read(_MANIFEST)
    # The last two: packed in a way that zipfile does not know, or encrypted.
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError):
        return set(), False

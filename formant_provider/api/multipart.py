"""A form with a file, read from disk while it is sent, so that memory does not grow with the file."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

_CHUNK_BYTES = 64 * 1024
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class FilePart:
    """How the file of a form is called. Its name on our side may be private, and only its ending matters.

    :param has_rows: whether the server can quote from it: it is text, in lines of which the first is none.
    """

    field: str
    file_name: str
    content_type: str
    has_rows: bool = False


CONTACTS = FilePart("file", "contacts.csv", "text/csv", has_rows=True)


class Form:
    """A multipart form with one file, which must not change, of known length; it can be sent again."""

    def __init__(self, fields: Mapping[str, str], file: BinaryIO, part: FilePart = CONTACTS) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        head = "".join(f"{_part(boundary, name)}\r\n\r\n{text}\r\n" for name, text in fields.items())
        head += f'{_part(boundary, part.field)}; filename="{part.file_name}"\r\n'
        head += f"Content-Type: {part.content_type}\r\n\r\n"
        self._head, self._tail = head.encode(), f"\r\n--{boundary}--\r\n".encode()
        self._file = file
        self._has_rows = part.has_rows
        self._file_bytes = file.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        return len(self._head) + self._file_bytes + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        self._file.seek(0)
        left = self._file_bytes
        while left and (chunk := self._file.read(min(left, _CHUNK_BYTES))):
            yield chunk
            left -= len(chunk)
        if left:
            # Its end is not sent, so that nobody can take the half of it for the whole.
            raise OSError("the file has become shorter while it was sent")
        yield self._tail

    def words_in(self, text: str) -> list[str]:
        """Return the words of a text that are also in the rows of the file, which nobody should read.

        A server that refuses a file may quote from it, and what it quotes is not known beforehand.
        """
        if not self._has_rows:
            return []
        wanted = set(_WORD.findall(text))
        found: set[str] = set()
        self._file.seek(0)
        self._file.readline()
        for line in self._file:
            found |= wanted.intersection(_WORD.findall(line.decode("utf-8", "replace")))
        return sorted(found)


def _part(boundary: str, name: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'

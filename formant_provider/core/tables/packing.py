"""Says which kind of file it is, by its first bytes, and unpacks one that is to be text."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib
from collections.abc import Callable
from typing import IO, Any

from formant_provider.api.errors import InvalidInput

# What is raised while a file is unpacked that is damaged. Errors of its storage are others.
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)
_BLOCK_BYTES = 1 << 14
_GZIP = re.compile(rb"\x1f\x8b")
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
# Behind what may be skipped, as some programs put it in front.
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
PARQUET, OLE, ZIP = b"PAR1", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK\x03\x04"
# What else people have, by its first bytes.
_OTHERS = {
    re.compile(rb"\s*\{\s*\"|\s*\[\s*[\[{\"]"): "JSON; write it as CSV or Parquet",
    re.compile(rb"\s*<(\?xml|!doctype|html|table|meta)", re.IGNORECASE): "XML or HTML, as some programs write"
    " under the name of a workbook; open it in a spreadsheet and save it as .xlsx or CSV",
    re.compile(rb"PAR1|PK\x03\x04|\xd0\xcf\x11\xe0"): "Parquet, a workbook or an archive that was compressed"
    " once more; unpack it",
    re.compile(rb"ARROW1"): "Arrow (Feather); write it as Parquet",
    re.compile(rb"Obj\x01"): "Avro; write it as Parquet",
    re.compile(rb"ORC[^ -~]"): "ORC; write it as Parquet",
    re.compile(rb"%PDF"): "a PDF document; export it as CSV",
    re.compile(rb"SQLite format 3"): "a database of SQLite; export it as CSV",
    re.compile(rb"\xfd7zXZ\0"): "compressed with xz; use gzip",
    re.compile(rb"\x04\x22\x4d\x18"): "compressed with LZ4; use gzip",
    re.compile(rb"\xff\x06\0\0sNaPpY"): "compressed with Snappy; use gzip",
    re.compile(rb"7z\xbc\xaf|Rar!"): "an archive; unpack it",
}


def unpacked(raw: io.BufferedReader, field: str) -> tuple[Any, str]:
    """Return a file as it is unpacked, and by what; in several pieces one after the other as well."""
    start = raw.peek(16)
    if _GZIP.match(start):
        return gzip.GzipFile(fileobj=raw), "gzip"
    if _BZIP2.match(start):
        return _Unpacked(raw, bz2.BZ2Decompressor), "bzip2"
    if _ZSTD.match(start):
        return _Unpacked(raw, _zstandard(field)), "Zstandard"
    return raw, ""


def refuse_other_kinds(start: bytes, field: str) -> None:
    """Refuse what is no text of ours, by its first bytes."""
    for pattern, kind in _OTHERS.items():
        if pattern.match(start):
            raise InvalidInput(field, f"is {kind}")


def _zstandard(field: str) -> Callable[[], Any]:
    try:
        import zstandard
    except ImportError:
        zstandard = None  # type: ignore[assignment]
    if zstandard is None:
        reason = "Zstandard needs its library here: pip install 'airflow-provider-formant[zstd]'"
        raise InvalidInput(field, reason)
    library: Any = zstandard
    return lambda: library.ZstdDecompressor().decompressobj()


class _Unpacked(io.RawIOBase):
    """Unpacks piece by piece, and says when the last one is cut off.

    The readers that the libraries have for files do not say so, or mix that with errors of the storage.
    """

    def __init__(self, file: IO[bytes], new: Callable[[], Any]) -> None:
        self._file, self._new = file, new
        self._unpacker: Any = None
        self._packed = self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and self._unpack():
            pass
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def read(self, size: int = -1) -> bytes:
        block = bytearray(_BLOCK_BYTES if size < 0 else size)
        return bytes(block[: self.readinto(block)])

    def _unpack(self) -> bool:
        """Unpack some more; ``False`` at the end."""
        packed = self._packed or self._file.read(_BLOCK_BYTES)
        if not packed and self._unpacker is not None:
            raise EOFError
        if not packed:
            return False
        self._unpacker = self._unpacker or self._new()
        self._packed = b""
        try:
            self._ready = self._unpacker.decompress(packed)
        except Exception:  # each library has one of its own
            self._unpacker = None
        if self._unpacker is None:
            raise EOFError
        if self._unpacker.eof:
            self._packed, self._unpacker = self._unpacker.unused_data, None
        return True

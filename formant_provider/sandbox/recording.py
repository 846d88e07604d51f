"""Recordings: WAV files that are generated while they are sent, so that a large one needs no memory."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

HEADER_BYTES = 44
MAX_BYTES = 2**32
"""A WAV file counts its bytes in 32 bits."""

_SAMPLES_PER_SECOND = 8000
# A prime, so that a client that loses or repeats a block of any usual size ends up with other bytes.
_PERIOD = 65_521


@dataclass(frozen=True)
class Recording:
    """The recording of one conversation: 8 kHz, mono, 8 bit, with noise that is different for each.

    :param conversation_id: the noise is derived from it.
    :param size: bytes of the whole file, header included.
    """

    conversation_id: str
    size: int

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` up to and without ``stop``, both 0 or more."""
        stop = min(stop, self.size)
        head = self._header[start:stop]
        start, stop = max(start - HEADER_BYTES, 0), max(stop - HEADER_BYTES, 0)
        shift = start % _PERIOD
        length = max(stop - start, 0)
        noise = self._noise * ((shift + length) // _PERIOD + 1)
        return head + noise[shift : shift + length]

    def chunks(self, stop: int | None = None) -> Iterator[bytes]:
        """Return the file in chunks, up to ``stop``; None is all of it."""
        left = self.size if stop is None else stop
        yield self._header[:left]
        left -= HEADER_BYTES
        block = self._noise * 4
        while left > 0:
            yield block if left >= len(block) else block[:left]
            left -= len(block)

    def sha256(self) -> str:
        """Return the checksum of the file, in hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def _noise(self) -> bytes:
        return hashlib.shake_128(self.conversation_id.encode()).digest(_PERIOD)

    @cached_property
    def _header(self) -> bytes:
        """The RIFF header of PCM audio: sizes, then format 1, one channel, rates, one byte a sample."""
        rate = _SAMPLES_PER_SECOND
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
        data = struct.pack("<4sI", b"data", self.size - HEADER_BYTES)
        return struct.pack("<4sI4s", b"RIFF", self.size - 8, b"WAVE") + form + data

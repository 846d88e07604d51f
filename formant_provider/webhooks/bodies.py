"""Reads bodies of requests, within limits of size and time, and no more at once than fit into memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What a request may take. A store that is slow leads to refusals, and not to a process without memory.

    :param body_bytes: the largest body.
    :param body_s: how long a body may take to come, seconds.
    :param store_s: how long an event may take to be stored, seconds: the vendor waits for 10, and repeats
        what it gets a 5xx for.
    :param in_hand: how many requests are in hand at most.
    :param in_hand_bytes: how many bytes their bodies have at most.
    """

    body_bytes: int = MIB
    body_s: float = 10.0
    store_s: float = 8.0
    in_hand: int = 1000
    in_hand_bytes: int = 64 * MIB


class BodyRefused(Exception):
    """A body was not read, or not to its end.

    :param status: the HTTP status to answer with.
    :param reason: why, in words for a log.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Bodies:
    """The bodies that are in hand."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        self._bytes = 0

    @asynccontextmanager
    async def read(self, length: str | None, chunks: Any) -> AsyncIterator[bytes]:
        """Give a body, which counts as in hand until the end of the ``with`` statement.

        :param length: the header ``Content-Length``; it is believed when it says too much, and otherwise
            what comes is counted.
        :param chunks: an async generator of bytes.
        :raises BodyRefused: it is larger than a webhook may be, comes too slowly, or there is no room.
        """
        if length is not None and length.isdecimal() and int(length[:20]) > self._limits.body_bytes:
            raise BodyRefused(413, "its body is too large")
        if self._count >= self._limits.in_hand:
            raise BodyRefused(503, "too many requests are in hand")
        body = bytearray()
        self._count += 1
        try:
            try:
                async with asyncio.timeout(self._limits.body_s), aclosing(chunks):
                    async for chunk in chunks:
                        self._add(body, chunk)
            except TimeoutError:
                raise BodyRefused(408, "its body did not come in time") from None
            yield bytes(body)
        finally:
            self._count -= 1
            self._bytes -= len(body)

    def _add(self, body: bytearray, chunk: bytes) -> None:
        body += chunk
        self._bytes += len(chunk)
        if len(body) > self._limits.body_bytes:
            raise BodyRefused(413, "its body is too large")
        if self._bytes > self._limits.in_hand_bytes:
            raise BodyRefused(503, "too many requests are in hand")

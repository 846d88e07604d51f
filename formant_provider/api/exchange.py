"""One request to the API, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from formant_provider.api.errors import FormantError
from formant_provider.api.multipart import Form


@dataclass(frozen=True)
class Exchange:
    """One request, and its answer: a file for ``sink``, or ``data`` of type ``shape``.

    :param operation: ``"METHOD /path"``, by which logs and errors call it.
    :param form: sent in place of a JSON ``body``.
    :param private: texts of the request that the server may quote and we may not.
    :param before_send: asked right before every send; the error it returns is raised instead.
    :param after_send: called right after every send, whatever came of it.
    :param rings: whether phones ring when the server accepts it.
    :param guarded: whether the server refuses the second of two that it could accept.
    """

    operation: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    form: Form | None = None
    private: tuple[str, ...] = ()
    shape: type = dict
    sink: IO[bytes] | None = None
    before_send: Callable[[], FormantError | None] | None = None
    after_send: Callable[[], None] | None = None
    rings: bool = False
    guarded: bool = True

"""The requests that reached the server, whatever became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass
class SeenRequest:
    """One request the sandbox received.

    :param endpoint: method and path template, such as ``GET /v1/conversations/{conversation_id}``; for a path
        that is no endpoint, method and path as sent.
    :param headers: names are looked up in any case.
    :param body: the parsed JSON, the text when it is not JSON, None when there was none.
    :param at: virtual time of arrival.
    :param status: status of the response; None while it is held, and for good if the connection ended without
        one.
    :param fault: name of the fault it met, if any.
    """

    method: str
    path: str
    endpoint: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    at: datetime
    status: int | None = None
    fault: str | None = None


class RequestLog:
    """All requests since the start or the last reset, in order of arrival."""

    def __init__(self) -> None:
        self._seen: list[SeenRequest] = []

    def add(self, request: SeenRequest) -> None:
        """Add a request; its status is filled in when it is answered."""
        self._seen.append(request)

    def copy(self) -> list[SeenRequest]:
        """Return copies of the requests as they are now; later responses do not change them."""
        return [replace(request) for request in self._seen]

    def counts(self) -> dict[str, dict[str, Any]]:
        """Return for each endpoint how many were seen, answered (by status) and left without a response."""
        statuses: dict[str, Counter[int | None]] = {}
        for request in self._seen:
            statuses.setdefault(request.endpoint, Counter())[request.status] += 1
        return {endpoint: _summary(counter) for endpoint, counter in statuses.items()}


def _summary(counter: Counter[int | None]) -> dict[str, Any]:
    answered = {
        str(status): times for status, times in sorted(counter.items(), key=str) if status is not None
    }
    return {"seen": counter.total(), "answered": answered, "unanswered": counter[None]}

"""An API that is written by hand, for what a sandbox does not do: changed keys, and limits of a number."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from support.scripted_server import Answer, ScriptedServer, Seen

Refuse = Callable[[str, int], Answer | None]


class WrittenApi:
    """Places each call at once, and has it over at once.

    :ivar keys: those that are accepted.
    :ivar refuse: is given a number, and how often it was asked for before; returns what is answered instead.
    :ivar before: carried out before each POST is looked at.
    :ivar status_of: is given a number, and returns how a call to it ends.
    """

    def __init__(self, key: str) -> None:
        self.keys = {key}
        self.refuse: Refuse = lambda _number, _times: None
        self.before: Callable[[], None] = lambda: None
        self.status_of: Callable[[str], str] = lambda _number: "completed"
        self.rings: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.order: list[str] = []
        self._records: list[dict[str, Any]] = []
        self._server = ScriptedServer(self._answer)

    def __enter__(self) -> WrittenApi:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    def uri(self, key: str) -> str:
        """Return a connection that uses a key."""
        return f"formant://http://:{key}@{self._server.base_url.removeprefix('http://')}"

    def connection_json(self) -> str:
        """Return a connection that uses one of its keys, as JSON."""
        fields = {"conn_type": "formant", "host": self._server.base_url, "password": min(self.keys)}
        return json.dumps(fields)

    def _answer(self, seen: Seen) -> Answer:
        if seen.method == "POST":
            self.before()
        told = {name.lower(): value for name, value in seen.headers.items()}
        if not any(key in " ".join(told.values()) for key in self.keys):
            return refusal(401, "authentication_error")
        if seen.method == "POST":
            return self._place(seen.body)
        if seen.path.startswith("/v1/conversations?"):
            known = self._records[::-1] if "offset=0" in seen.path else []
            return Answer(200, {"data": known, "has_more": False, "total": len(self._records)})
        return refusal(404, "not_found")

    def _place(self, body: dict[str, Any]) -> Answer:
        number = next(item["value"] for item in body["parameters"] if item["name"] == "customer_phone")
        refused = self.refuse(number, self.asked[number])
        self.asked[number] += 1
        if refused is not None:
            return refused
        self.rings[number] += 1
        self.order.append(number)
        name, now_ms = f"c{len(self._records)}", round(time.time() * 1000)
        record = {"agent_id": body["agent_id"], "contact_number": number, "trace_id": f"t{name}"}
        times = {"start_timestamp": now_ms, "end_timestamp": now_ms, "duration_seconds": 1}
        self._records.append({**record, **times, "conversation_id": name, "status": self.status_of(number)})
        receipt = {"agent_id": body["agent_id"], "trace_id": f"t{name}", "conversation_id": None}
        return Answer(200, {"data": {**receipt, "scheduled_for": None, "status": "initiated"}})


def refusal(status: int, kind: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an error as the vendor writes it."""
    return Answer(status, {"error": {"type": kind, "message": "no"}}, headers or {})

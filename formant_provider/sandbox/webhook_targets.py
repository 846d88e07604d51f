"""The targets of webhooks: where the events of an agent go, and what they are signed with."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from formant_provider.sandbox.calls import Attempt
from formant_provider.sandbox.webhook_bodies import event_type
from formant_provider.sandbox.webhook_faults import WebhookFault


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the events of an agent go.

    :param secret: what its events are signed with; None sends them unsigned.
    :param old_secret: what it was before; None is the secret with ``-old`` behind it.
    :param agent_id: the agent; None is all of them.
    :param events: types of the events it gets; None is all, also those that no page of the vendor has.
    :raises ValueError: the URL, a secret or an event type is invalid.
    """

    url: str
    secret: str | None = field(default=None, repr=False)
    old_secret: str | None = field(default=None, repr=False)
    agent_id: int | None = None
    events: Collection[str] | None = None
    include_transcript: bool = True

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        # A port that is none is a ValueError of its own.
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise ValueError("url must be an http or https address")
        if "" in (self.secret, self.old_secret):
            raise ValueError("a secret must not be empty")
        if any(not each.startswith("call.") for each in self.events or ()):
            raise ValueError("events must be types such as call.completed")

    def takes(self, attempt: Attempt) -> bool:
        """Whether it gets the event of this attempt."""
        wanted = self.events is None or event_type(attempt) in self.events
        return wanted and self.agent_id in (None, attempt.agent_id)

    def secret_with(self, fault: WebhookFault | None) -> str | None:
        """Return what an event is signed with that meets this fault; None for no signature."""
        if fault is WebhookFault.WRONG_SIGNATURE:
            return secrets.token_hex()
        if fault is WebhookFault.OLD_KEY:
            return self.old_secret or f"{self.secret}-old"
        return self.secret

    def row(self) -> dict[str, Any]:
        """Return it as a plain row, without its secrets."""
        return {
            "url": self.url,
            "agent_id": self.agent_id,
            "events": None if self.events is None else sorted(self.events),
            "include_transcript": self.include_transcript,
            "signed": self.secret is not None,
        }

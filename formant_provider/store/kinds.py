"""What events tell besides what a call is: of the store as a whole, and in payloads beside the row."""

from __future__ import annotations

import json
from typing import Any

STORE = "store"
"""The subject of events about the store as a whole."""

ROTATED, PURGING, PURGED, CUT, KEPT = "rotated", "purging", "purged", "cut", "kept"
"""Kinds: the secret was exchanged; a purge begins, has ended, and has cut a piece off the front of the chain;
a row was stated again so that a purge can cut off the event that vouched for it."""

HELD, RELEASED = "held", "released"
"""Kinds: call lists are to place no calls; they may again."""

FACTS, BASE = "facts", "base"
"""Keys of a payload of the kinds :data:`TELL_FACTS`: what is known of the store as a whole from then on, and
after which event, with which hash, its chain begins."""

TELL_FACTS = PURGING, CUT, HELD, RELEASED

PEOPLE, ATTEMPTS, ENDED = "people", "attempts", "ended"
"""Keys of a payload besides the columns of the row: how many people a batch call is to and who; in an event
of the kind :data:`KEPT`, the earlier attempts of a call; and the attempt of a list's call that is over."""


def payload_of(text: str) -> dict[str, Any]:
    """Return the payload of an event; an empty one when somebody has made something else of it."""
    try:
        payload = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}

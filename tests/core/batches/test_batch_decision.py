"""Whether a batch call may be uploaded, or uploaded again: one row for each situation, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.errors import InvalidRequest, RateLimited, ResponseLost, ServerError
from formant_provider.core.batches.decision import (
    SKEW,
    BatchIntent,
    BatchPolicy,
    Decision,
    Done,
    Facts,
    Look,
    Refuse,
    Send,
    decide,
)
from formant_provider.core.ledger import Sent

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
BATCH = BatchCall(7, "March", 456, "pending", 3, None)
INTENTS = {
    "placed": BatchIntent("key", NOON, Sent.UNCLEAR, BATCH),
    "never sent": BatchIntent("key", NOON),
    "refused": BatchIntent("key", NOON, Sent.REFUSED),
    "in doubt": BatchIntent("key", NOON, Sent.UNCLEAR),
}
POLICIES: dict[str, dict[str, Any]] = {
    "taken": {"taken_since": NOON - timedelta(days=3)},
    "cleared": {"was_cleared": True},
    "resubmit": {"resubmit_if_missing": True},
}
FACTS: dict[str, dict[str, Any]] = {
    "fresh": {"is_fresh": True},
    "limited": {"upload_error": RateLimited("429")},
    "invalid": {"upload_error": InvalidRequest("400")},
    "lost": {"upload_error": ResponseLost("no answer")},
    "looked": {"has_looked": True},
    "look failed": {"has_looked": True, "look_error": ServerError("500")},
    "found": {"has_looked": True, "batch": BATCH},
}
# What the ledger says, policy, facts, and what follows.
TABLE = """
placed     |                |              | placed
placed     | taken; cleared |              | placed

never sent |                | fresh        | send
never sent | cleared        | fresh        | send
never sent | resubmit       | fresh        | send
never sent | taken          | fresh        | look for 5 s
never sent | taken; cleared | fresh        | look for 30 s
never sent | taken          | fresh; found | found
never sent | taken          | looked       | send
never sent | taken          | look failed  | refuse: ServerError
never sent |                |              | look for 0 s
never sent |                | looked       | send
refused    |                |              | look for 0 s
refused    | taken          |              | look for 5 s
refused    | cleared        |              | look for 30 s
refused    |                | found        | found
refused    |                | looked       | send
refused    |                | limited      | refuse: RateLimited
refused    |                | invalid      | refuse: InvalidRequest

in doubt   |                |              | look for 30 s
in doubt   | resubmit       |              | look for 30 s
in doubt   |                | found        | found
in doubt   | resubmit       | found        | found
in doubt   |                | looked       | refuse: BatchOutcomeUnknown
in doubt   | resubmit       | looked       | send
in doubt   |                | look failed  | refuse: ServerError
in doubt   | resubmit       | look failed  | refuse: ServerError
in doubt   |                | limited      | refuse: RateLimited
in doubt   |                | lost         | look for 30 s
in doubt   |                | lost; found  | found
in doubt   |                | lost; looked | refuse: BatchOutcomeUnknown
in doubt   | resubmit       | lost; looked | refuse: ResponseLost
in doubt   | resubmit       | lost; found  | found
"""
ROWS = [line for line in TABLE.splitlines() if line]


def in_words(decision: Decision) -> str:
    match decision:
        case Send():
            return "send"
        case Look(timeout_s=timeout_s):
            return f"look for {timeout_s:.0f} s"
        case Done(result=result, batch=batch):
            assert batch == BATCH
            return result.value
        case Refuse(error=error):
            return f"refuse: {type(error).__name__}"


def decided(known: str, policy: str = "", facts: str = "") -> Decision:
    chosen = {"taken_since": None, "resubmit_if_missing": False} | _all_of(POLICIES, policy)
    return decide(
        INTENTS[known],
        BatchPolicy(lookup_timeout_s=30.0, **chosen),
        Facts(**{"name": "agent 456", "is_fresh": False} | _all_of(FACTS, facts)),
    )


def _all_of(named: dict[str, dict[str, Any]], names: str) -> dict[str, Any]:
    return {field: value for name in names.split("; ") if name for field, value in named[name].items()}


@pytest.mark.parametrize("row", ROWS)
def test_what_follows_from_what_is_known(row: str) -> None:
    """The table of the decision, row by row."""
    assert in_words(decided(*(cell.strip() for cell in row.split("|")[:3]))) == row.split("|")[3].strip()


def test_a_look_goes_back_to_when_others_can_have_placed_it() -> None:
    """And a day more, since clocks differ."""
    looks = [decided("in doubt"), decided("in doubt", "taken")]
    assert [look.since for look in looks if isinstance(look, Look)] == [
        NOON - SKEW,
        NOON - timedelta(days=3) - SKEW,
    ]


def test_an_unknown_outcome_may_have_been_placed() -> None:
    """The error says so, and names what to look for."""
    refused = decided("in doubt", facts="looked")
    assert isinstance(refused, Refuse)
    assert refused.error.maybe_placed
    assert "agent 456" in str(refused.error)

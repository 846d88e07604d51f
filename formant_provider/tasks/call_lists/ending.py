"""How the task of a call list ends: what it returns, what it writes, and whether it succeeds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.tasks.results import a_result_in_any_case, not_called, push_result
from formant_provider.tasks.telling import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from formant_provider.core.call_lists.board import Board
    from formant_provider.tasks.call_lists.fields import CallListTask

log = logging.getLogger(__name__)

UNKNOWN, REFUSED = "unknown", "refused"

FINISHED, EXPIRED, HELD = "finished", "expired", "held"
COUNTS = ("rows", "reached", "closed", "rejected", "waiting", "calls")
_FIELDS = (*COUNTS, "minutes", "by_status", "by_reason", "variants", "results_uri", "summary_uri")


def leaving_a_result(context: Context, row: Callable[[], Mapping[str, Any]]) -> AbstractContextManager[None]:
    """Leave a result also when the list is not worked off."""
    return a_result_in_any_case(
        context, lambda: {**dict.fromkeys(_FIELDS), **row()}, partial(not_called, skipped="skipped"), apart=()
    )


def result_of(
    board: Board, row: Mapping[str, Any], *, status: str, uris: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the result of a list: counts and places of files, nothing of a person."""
    tally = board.tally()
    return {
        **{name: getattr(tally, name) for name in COUNTS},
        "minutes": round(tally.seconds / 60, 2),
        "by_status": dict(sorted(tally.by_status.items())),
        "by_reason": dict(sorted(tally.by_reason.items())),
        "variants": _by_variant(board),
        **uris,
        **row,
        "status": status,
    }


def end(task: CallListTask, result: dict[str, Any], context: Context, *, why: str | None) -> dict[str, Any]:
    """End the task as its list went, and as its user chose; the result goes to XCom in any case.

    :param why: in words, why the list ended before its end; ``None`` if it did not.
    :raises AirflowFailException: not all were called in time, or too few were reached; a retry would call
        nobody more.
    """
    status, options = result["status"], task.ending
    tell(context, result)
    if status == HELD:
        text = f"The list is held: {why}. Nobody further was called. Clear this task when it may go on"
        _fail(text, result, context)
    if status == EXPIRED and options.on_timeout == "fail":
        left = result["by_reason"].get(EXPIRED, 0)
        text = f"The list has ended: {why}; {left} people were not called at all. Clear this task to go on"
        _fail(text, result, context)
    _refuse_nothing_known(result, context)
    refused = result["by_reason"].get(REFUSED, 0)
    if refused and not result["calls"] and not result["waiting"]:
        text = f"Nobody was called: the API has refused the calls of {refused} rows"
        _fail(text, result, context)
    if why:
        log.warning("The list has ended before its end: %s.", why)
    _end_by_rate(task, result, context)
    return result


def _refuse_nothing_known(result: dict[str, Any], context: Context) -> None:
    """Fail where it is not known of anybody whether they were called, and warn where it is not of some."""
    unknown = result["by_status"].get(UNKNOWN, 0)
    if not unknown:
        return
    text = (
        f"Of {unknown} people it is not known whether they were called: an earlier try may have, no"
        " conversation is on record, and their keys are not to be sent again. See in the FormantAI dashboard"
    )
    if unknown == result["rows"] - result["rejected"]:
        _fail(text, result, context)
    log.warning("%s.", text)


def _end_by_rate(task: CallListTask, result: dict[str, Any], context: Context) -> None:
    wanted = task.ending.min_success_rate
    if wanted is None:
        return
    people = result["rows"] - result["rejected"]
    rate = 100 * result["reached"] / people if people else 0.0
    text = f"{rate:.1f} % of the {people} people were reached, and {wanted:g} % were asked for"
    if rate >= wanted:
        log.info("%s.", text)
    elif task.ending.on_below_threshold == "succeed":
        log.warning("%s.", text)
    else:
        _fail(f"{text}. A retry would call nobody more", result, context)


def _fail(text: str, result: dict[str, Any], context: Context) -> None:
    push_result(context, result)
    raise AirflowFailException(f"{text}.")


def _by_variant(board: Board) -> dict[str, dict[str, int]]:
    """Return by agent how many were called, and reached."""
    called: dict[str, dict[str, int]] = {}
    for agent_id, reached, count in board.by_agent():
        entry = called.setdefault(str(agent_id), {"called": 0, "reached": 0})
        entry["called"] += count
        entry["reached"] += count * reached
    return called

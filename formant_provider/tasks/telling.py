"""What a task tells those who listen, besides its result: events of agents' assets, and lineage.

Nothing is told unless a user asks for it: Airflow stores events of assets that are among a task's
``outlets``, and the provider of OpenLineage asks tasks where it is installed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from formant_provider.assets import SCHEME
from formant_provider.tasks.results import storable
from formant_provider.tasks.storage.uris import holds_number, without_secrets

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

# What an asset's event holds of a result, as far as it is in it: ids, words and counts. Nothing of a person,
# and not the ids of a list, of which there may be thousands: they are in its results.
TOLD = (
    "agent_id",
    "trace_id",
    "conversation_id",
    "batch_id",
    "status",
    "reason",
    "placement",
    "scheduled_for",
    "total_recipients",
    "rows",
    "reached",
    "closed",
    "rejected",
    "waiting",
    "calls",
    "results_uri",
    "summary_uri",
    "map_index",
    "reference",
)
_RESULT = "_formant_result_told"


def tell(context: Context, result: Mapping[str, Any]) -> None:
    """Put what is known into the events of ``formant://`` outlets, and keep it for lineage.

    May be called again when more is known. What hinders it is logged: a call that was placed is placed.
    """
    task: Any = context.get("task")
    if task is None:  # somebody calls execute() by themselves, with a context of their own
        return
    vars(task)[_RESULT] = dict(result)
    for outlet in getattr(task, "outlets", ()):
        if str(getattr(outlet, "uri", "")).startswith(f"{SCHEME}://"):
            try:
                context["outlet_events"][outlet].extra.update(_of_event(result))
            except Exception as error:  # whatever Airflow may raise, or an address that is none
                log.warning("The event of an asset holds no ids (%s).", type(error).__name__)


def told(task: Any) -> Mapping[str, Any]:
    """Return the last result that a task has told of in this process; empty if none."""
    result: Mapping[str, Any] = vars(task).get(_RESULT) or {}
    return result


def _of_event(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _public(name, result[name]) for name in TOLD if name in result}


def _public(name: str, value: Any) -> Any:
    if not name.endswith("_uri") or not value:
        return storable(value)
    return None if holds_number(str(value)) else without_secrets(str(value))

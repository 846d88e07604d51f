"""Checks the options of a call list when the DAG file is parsed, where a mistake costs nothing."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from formant_provider.attempts import Attempts
from formant_provider.stop_when import StopWhen
from formant_provider.tasks.call_lists.fields import EndOptions, PlacingOptions
from formant_provider.tasks.call_lists.hold import to_hold
from formant_provider.tasks.call_lists.outputs import check_written
from formant_provider.tasks.contact_rules import PHONE_COLUMN
from formant_provider.tasks.options import is_template, refuse_idle

if TYPE_CHECKING:
    from formant_provider.core.call_lists.variants import Variants
    from formant_provider.tasks.call_lists.fields import CallListTask

ROLES = ("reference", "agent_id", "scheduled_for", "idempotency_key", "metadata")


def variants_of(agent_id: object, agents: object) -> Variants | None:
    """Return the agents that share a list; ``None`` where there is one, or each row names its own."""
    if agents is None:
        return None
    if agent_id is not None:
        raise ValueError("agent_id and agents are both given: give one of them")
    from formant_provider.core.call_lists.variants import Variants

    return Variants(agents)  # type: ignore[arg-type] # what it is, it checks


def chosen_columns(columns: Mapping[str, str | None] | None) -> Mapping[str, str | None]:
    """Return which column is what, where its name does not say so."""
    if columns is None:
        return {}
    if not isinstance(columns, Mapping) or not set(columns) <= set(ROLES):
        raise ValueError(f"columns must name the columns of {', '.join(ROLES)}; not {columns!r}")
    names = [name for name in columns.values() if name is not None]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ValueError(f"columns must give each of them a name of its own, or None; not {columns!r}")
    return dict(columns)


def check_list_options(given: Container[str], options: Mapping[str, Any]) -> None:
    """Refuse options of a list that cannot act; ``given`` are those of the DAG file."""
    EndOptions(options["on_timeout"], options["min_success_rate"], options["on_below_threshold"])
    has_rate = options["min_success_rate"] is not None
    refuse_idle(given, ["on_below_threshold"], "min_success_rate", met=has_rate)
    leaves_out = options["invalid_rows"] == "reject"
    refuse_idle(given, ["max_rejected_rate"], 'invalid_rows="reject"', met=leaves_out)
    variants_of(options["agent_id"], options["agents"])
    chosen_columns(options["columns"])
    Attempts.of(options["attempts"])
    StopWhen.of(options["stop_when"])
    PlacingOptions(options["concurrency"], options["max_inline_wait"], options["max_lateness"])


def check_fields(task: CallListTask, *, is_row: bool) -> None:
    """Refuse fields that are invalid whatever the templates render to, when the DAG file is parsed.

    :param is_row: whether the task is a row of a mapped one, and so is checked when it runs.
    """
    task.result_options.refuse_phone_column(task.rules.phone_column)
    if {task.rules.phone_column, PHONE_COLUMN} & set(task.columns.values()):
        raise ValueError("columns cannot name the column of numbers, which phone_column names")
    if task.hold_variable is not None and not (isinstance(task.hold_variable, str) and task.hold_variable):
        raise ValueError(f"hold_variable must be the name of an Airflow Variable; not {task.hold_variable!r}")
    if isinstance(task.hold, bool) or (isinstance(task.hold, str) and not is_template(task.hold)):
        to_hold(task.hold)
    if is_row:
        return
    refuse_idle(task.given, ["result_columns"], "results_uri", met=task.results_uri is not None)
    is_written = task.results_uri is not None or task.progress_uri is not None
    refuse_idle(task.given, ["recipients", "keep_columns"], "results_uri", met=is_written)
    check_written(task)

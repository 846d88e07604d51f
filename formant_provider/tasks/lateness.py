"""Is a task too late to call anybody? It is judged by the day that its run is about.

A backfill, a catch-up or a scheduler that was down must not phone people about last month; nor must a run
that a backfilled or cleared producer of an asset has started, though its own times are of today.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from formant_provider.tasks.options import seconds

if TYPE_CHECKING:
    from airflow.sdk import Context

# Runs that nobody asked for at the time they run. Who starts one by hand knows how old its data is.
_BY_SCHEDULE = ("scheduled", "backfill")
_BY_ASSET = "asset_triggered"
# The ids that Airflow gives to runs of a schedule and of a backfill hold the moment from which each was due.
_DATED_RUN = re.compile(r"(?:scheduled|backfill)__(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))")
# The date of a partition is its beginning. How long it lasts nothing tells; most last a day.
_PARTITION_LASTS = timedelta(days=1)


class Due(NamedTuple):
    """When the day is over that a run is about, and the rest of a sentence that begins with this moment."""

    moment: datetime
    because: str


def lateness_s(max_lateness: float | timedelta | None) -> float | None:
    """Return the seconds that a run may be late, as the DAG file says; ``None`` means any number."""
    allowed_s = None if max_lateness is None else seconds("max_lateness", max_lateness)
    if allowed_s == 0:
        raise ValueError("max_lateness must be above 0, or None to call however late it is")
    return allowed_s


def refuse_late(context: Context, max_lateness_s: float | None, *, now: datetime) -> None:
    """Refuse to call anybody anew for a run that is about a day long gone.

    :raises CallNotAllowed: the task is to be skipped. Its reason is ``late``; ``late_once`` for a schedule of
        ``@once``; ``delayed`` if the run began in time.
    """
    from formant_provider.api.errors import CallNotAllowed

    dag_run: Any = context["dag_run"]
    due = None if max_lateness_s is None else due_of(dag_run)
    allowed = timedelta(seconds=max_lateness_s or 0)
    if due is None or now - due.moment <= allowed:
        return
    reason, why = _why(context, due, allowed)
    enough = f"timedelta(days={(now - due.moment).days + 1})"
    raise CallNotAllowed(
        f"{why} It would call with max_lateness=None, or with max_lateness={enough}."
        f" This run is that of {_text(due.moment)}, {due.because}, longer ago than max_lateness ({allowed})"
        " allows",
        reason=reason,
    )


def due_of(dag_run: Any) -> Due | None:
    """Return when a run's day was over; ``None`` if somebody asked for the run, or nothing tells."""
    if dag_run.run_type in _BY_SCHEDULE:
        return _by_schedule(dag_run)
    return _by_asset(dag_run) if dag_run.run_type == _BY_ASSET else None


def _by_schedule(dag_run: Any) -> Due:
    if dag_run.data_interval_end:
        return Due(dag_run.data_interval_end, "when its data interval ended")
    due, partition = Due(dag_run.run_after, "when it was due"), _partition_date(dag_run)
    if partition is None:
        return due
    # A schedule may be about a partition that is older on purpose: then it is in time when it was due.
    return max(due, Due(partition, "the date of its partition"), key=attrgetter("moment"))


def _by_asset(dag_run: Any) -> Due | None:
    """Judge by the newest day that is known; without a partition it must be known of every event."""
    producers = [_of_producer(event.source_run_id) for event in dag_run.consumed_asset_events]
    partition = _partition_date(dag_run)
    if partition is not None:
        end = partition + _PARTITION_LASTS
        known = [Due(end, f"a day after {_text(partition)}, the date of its partition"), *producers]
    else:
        known = [] if None in producers else producers
    return max((due for due in known if due is not None), key=attrgetter("moment"), default=None)


def _partition_date(dag_run: Any) -> Any:
    return getattr(dag_run, "partition_date", None)  # Airflow 3.2


def _of_producer(run_id: str | None) -> Due | None:
    found = _DATED_RUN.match(run_id or "")
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1]).astimezone(UTC)
    except (ValueError, OverflowError):  # somebody gave the run an id that only looks like Airflow's
        return None
    return Due(moment, "when the run was due whose asset event started this one")


def _why(context: Context, due: Due, allowed: timedelta) -> tuple[str, str]:
    """Return in a word and in a sentence how a run comes to be late."""
    dag_run: Any = context["dag_run"]
    if dag_run.run_type in _BY_SCHEDULE and getattr(context.get("dag"), "schedule", None) == "@once":
        return "late_once", "The schedule is @once, and its run counts as that of the DAG's start_date."
    began = dag_run.start_date
    if began is not None and began - due.moment <= allowed:
        return "delayed", (
            f"The run began in time, at {_text(began)}: a task before this one took long, such as an"
            " approval, or this one waited in a queue or for a retry."
        )
    if dag_run.run_type == _BY_ASSET:
        return "late", "What started it is about an old day, as after a backfill or a clear of its producer."
    return "late", "It is of a backfill or a catch-up, the scheduler was down, or the run was cleared."


def _text(moment: datetime) -> str:
    from formant_provider.api.models import utc_text

    return utc_text(moment)

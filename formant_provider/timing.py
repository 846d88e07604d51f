"""When the call of a task may ring: not outside of its calling window, and not long after its time.

Both are asked of what would ring anew, and of nothing else: what was placed before is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from formant_provider.calling_window import CallingWindow
from formant_provider.do_not_call import MindsTheList
from formant_provider.options import one_of, seconds

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from formant_provider.api.models import CallRequest

OnClosed = Literal["schedule", "skip", "fail"]
When: TypeAlias = "Callable[[datetime | None, datetime], datetime | None]"
# Runs that nobody asked for at the time they run. Who starts one by hand knows how old its data is.
MAY_BE_LATE = ("scheduled", "backfill")


class MindsTheTime(MindsTheList):
    """Mixed into an operator whose calls are bound to a time, and to whom may be called."""

    calling_window: CallingWindow | None
    on_closed: str
    max_lateness_s: float | None

    def set_timing_options(
        self,
        calling_window: CallingWindow | None,
        on_closed: OnClosed,
        max_lateness: float | timedelta | None,
    ) -> None:
        """Keep the options of the timing, which are documented at the operator.

        :raises ValueError: for what cannot be meant.
        """
        if not isinstance(calling_window, CallingWindow | None):
            raise ValueError(f"calling_window must be a CallingWindow; not {type(calling_window).__name__}")
        self.calling_window = calling_window
        self.on_closed = one_of("on_closed", on_closed, get_args(OnClosed))
        self.max_lateness_s = lateness_s(max_lateness)

    def timing(self, call: CallRequest, context: Context) -> When:
        """Return what says when a call may ring, given when it was asked to and the current time.

        :raises InvalidInput: the calling window cannot be understood, or not for this recipient.
        """
        from formant_provider.api.calling_window import ring_at

        refuse_suppressed = self.suppression(call.recipient)
        hours = self.calling_window.hours(call.recipient) if self.calling_window else None

        def when(asked: datetime | None, now: datetime) -> datetime | None:
            refuse_late(context, self.max_lateness_s, now=now)
            refuse_suppressed()
            return ring_at(hours, asked, now=now, on_closed=self.on_closed) if hours else asked

        return when

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        if parent is self:  # Airflow renders it in place, and other tasks and runs may share it
            self.calling_window = copy(self.calling_window)
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)


def lateness_s(max_lateness: float | timedelta | None) -> float | None:
    """Return the seconds that a run may be late; ``None`` means any number.

    :raises ValueError: it cannot be meant.
    """
    allowed_s = None if max_lateness is None else seconds("max_lateness", max_lateness)
    if allowed_s == 0:
        raise ValueError("max_lateness must be above 0, or None to call however late it is")
    return allowed_s


def refuse_late(context: Context, max_lateness_s: float | None, *, now: datetime) -> None:
    """Refuse to ring anew for a run whose time is long gone, as in a backfill or a catch-up.

    :param max_lateness_s: seconds since its data interval ended, or since it was due if it has none; ``None``
        means any number.
    :raises HeldBack: the task is to be skipped.
    """
    from formant_provider.api.errors import HeldBack
    from formant_provider.api.models import utc_text

    dag_run: Any = context["dag_run"]
    if max_lateness_s is None or dag_run.run_type not in MAY_BE_LATE:
        return
    due, allowed = dag_run.data_interval_end or dag_run.run_after, timedelta(seconds=max_lateness_s)
    if now - due > allowed:
        raise HeldBack(
            f"This run is that of {utc_text(due)}, longer ago than max_lateness ({allowed}) allows",
            reason="late",
        )

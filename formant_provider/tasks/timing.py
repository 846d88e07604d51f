"""When the call of a task may ring: not outside of its calling window, and not long after its time.

Both are asked of what would ring anew, and of nothing else: what was placed before is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from copy import copy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from formant_provider.calling_window import CallingWindow
from formant_provider.tasks.do_not_call import MindsTheList
from formant_provider.tasks.lateness import lateness_s, refuse_late
from formant_provider.tasks.options import one_of

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from formant_provider.api.models import CallRequest

OnClosed = Literal["schedule", "skip", "fail"]
OnClosedUpload = Literal["skip", "fail"]
_NO_SCHEDULE = (
    'on_closed="schedule" is not for a batch call: the vendor gives no row of it a time of its own. Call'
    " lists will schedule each person, and are not there yet; until then map FormantCreateCallOperator over"
    ' the contacts, which schedules each call. Here it is "skip" or "fail"'
)
When: TypeAlias = "Callable[[datetime | None, datetime], datetime | None]"


class MindsTheWindow(MindsTheList):
    """Mixed into an operator that has the fields ``calling_window`` and ``suppress``."""

    calling_window: CallingWindow | None
    on_closed: str

    def set_window(
        self,
        calling_window: CallingWindow | None,
        on_closed: str,
        choices: Collection[str] = get_args(OnClosedUpload),
    ) -> None:
        """Keep the calling hours, which are documented at the operator.

        :param choices: what ``on_closed`` may be.
        :raises ValueError: for what cannot be meant.
        """
        if not isinstance(calling_window, CallingWindow | None):
            raise ValueError(f"calling_window must be a CallingWindow; not {type(calling_window).__name__}")
        if on_closed == "schedule" and on_closed not in choices:
            raise ValueError(_NO_SCHEDULE)
        self.calling_window = calling_window
        self.on_closed = one_of("on_closed", on_closed, choices)

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


class MindsTheTime(MindsTheWindow):
    """Mixed into an operator whose calls are bound to a time, and to whom may be called."""

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
        self.set_window(calling_window, on_closed, get_args(OnClosed))
        self.max_lateness_s = lateness_s(max_lateness)

    def timing(self, call: CallRequest, context: Context) -> When:
        """Return what says when a call may ring, given when it was asked to and the current time.

        :raises InvalidInput: the calling window cannot be understood, or not for this recipient.
        """
        from formant_provider.core.hours.opening_hours import ring_at

        refuse_suppressed = self.suppression(call.recipient)
        hours = self.calling_window.hours(call.recipient) if self.calling_window else None

        def when(asked: datetime | None, now: datetime) -> datetime | None:
            refuse_late(context, self.max_lateness_s, now=now)
            refuse_suppressed()
            return ring_at(hours, asked, now=now, on_closed=self.on_closed) if hours else asked

        return when

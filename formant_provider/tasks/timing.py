"""When the call of a task may be placed: not outside of its calling window, and not long after its time.

Both are asked of a call that would be placed anew, and of nothing else: what was placed before is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from formant_provider.tasks.lateness import refuse_late
from formant_provider.tasks.options import Word, one_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.calling_window import CallingWindow

OnClosed = Literal["schedule", "skip", "fail"]
OnClosedUpload = Literal["skip", "fail"]
_NO_SCHEDULE = (
    'on_closed="schedule" is not for a batch call: the vendor gives no row of it a time of its own. Use'
    " FormantCallListOperator, which calls each person in their own hours. Here it is"
    ' "skip" or "fail"'
)
When: TypeAlias = "Callable[[datetime | None, datetime], datetime | None]"


def check_window(
    calling_window: CallingWindow | Mapping[str, Any] | None,
    on_closed: Word,
    choices: Collection[str] = get_args(OnClosedUpload),
) -> tuple[CallingWindow | None, Word]:
    """Return the calling hours, which are documented at the operator, checked when the DAG file is parsed."""
    if calling_window is not None:
        from formant_provider.calling_window import CallingWindow

        calling_window = CallingWindow.of(calling_window)
    if on_closed == "schedule" and on_closed not in choices:
        raise ValueError(_NO_SCHEDULE)
    return calling_window, one_of("on_closed", on_closed, choices)


@dataclass(frozen=True)
class TimingOptions:
    """What a user chose of the time of a call. See the operator."""

    on_closed: OnClosed
    max_lateness_s: float | None

    def when(
        self,
        recipient: str,
        window: CallingWindow | None,
        refuse_suppressed: Callable[[], None],
        context: Context,
    ) -> When:
        """Return what says when a call may be placed, given when it was asked for and the current time."""
        from formant_provider.core.hours.opening_hours import allowed_at

        hours = window.hours(recipient) if window else None

        def when(asked: datetime | None, now: datetime) -> datetime | None:
            refuse_late(context, self.max_lateness_s, now=now)
            refuse_suppressed()
            return allowed_at(hours, asked, now=now, on_closed=self.on_closed) if hours else asked

        return when

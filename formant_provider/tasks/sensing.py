"""Holds what both sensors share: three ways to wait, and a result that is left whatever comes of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from formant_provider.tasks.privacy import PrivateFields, reveal
from formant_provider.tasks.references import reference_or_none
from formant_provider.tasks.results import a_result_in_any_case, no_outcome, of_row
from formant_provider.tasks.waiting import Look, defer_wait, now

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.tasks.failures import Activity
    from formant_provider.triggers.shared import WaitingTrigger


class WaitingSensor(PrivateFields, BaseSensorOperator):
    """Waits in each of the three ways of Airflow's sensors; subclasses say for what."""

    formant_conn_id: str
    region: str | None
    reference: str | int | None
    deferrable: bool
    # Fields of a result that are XComs of their own as well.
    pushed_apart: ClassVar[tuple[str, ...]] = ()

    _look: Look | None = None

    def execute(self, context: Context) -> Any:
        """Wait in the way that was chosen."""
        with self._leaving_a_result(context):
            return self._defer(context) if self.deferrable else super().execute(context)

    def _defer(self, context: Context) -> None:
        deadline = now() + timedelta(seconds=self.timeout)
        with self.waiting_for_it():
            trigger = self.trigger(context, deadline)
        defer_wait(self, trigger, deadline)

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Look once."""
        with self.waiting_for_it():
            if self._look is None:
                self._look = Look(self.hook, self.trigger(context, now()))
                self._look.waiter.deadline = now() + timedelta(seconds=self.timeout)
                self.recall(self._look.waiter, context)
            self._look.once()
        if self._look.waiter.outcome is None:
            self.remember(self._look.waiter, context)
            return False
        return PokeReturnValue(is_done=True, xcom_value=self.conclude(self._look.end(), context))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Continue after the wait in the triggerer."""
        end = self.kind()[1].from_event(event)
        with self._leaving_a_result(context):
            with self.waiting_for_it():
                end.raise_error()
            if not end.is_over:
                text = f"{end.subject} was not over within {self.timeout:g} s"
                raise AirflowSkipException(text) if self.soft_fail else AirflowSensorTimeout(text)
            return self.conclude(end, context)

    def of_this_row(self, context: Context) -> dict[str, Any]:
        """Return what identifies this result among those of other rows."""
        recipient = reveal(getattr(self, "recipient", None))
        return of_row(context, reference_or_none(self.reference, recipient))

    def waiting_for_it(self) -> AbstractContextManager[None]:
        """Let our errors end the task as those of a wait do."""
        from formant_provider.tasks.failures import ending_the_task

        return ending_the_task(self.kind()[0], self.hook)

    def _leaving_a_result(self, context: Context) -> AbstractContextManager[None]:
        """Leave a result also when the wait comes to nothing."""

        def nothing() -> dict[str, Any]:
            return self.without_outcome(context)

        return a_result_in_any_case(context, nothing, no_outcome, apart=self.pushed_apart)

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        """Put the next look off for as long as the API asks."""
        asked_s = self._look.wait_s if self._look else 0.0
        interval_s: float = super()._get_next_poke_interval(*args, **kwargs)
        return max(interval_s, asked_s)

    @abstractmethod
    def kind(self) -> tuple[Activity, Any]:
        """Return what the task is doing, by which errors are explained, and the class of its end."""

    @abstractmethod
    def trigger(self, context: Context, deadline: datetime) -> WaitingTrigger:
        """Check the rendered fields; return the trigger that describes the wait, wherever one waits."""

    def recall(self, waiter: Any, context: Context) -> None:
        """Continue where the process before this one was, for a sensor in mode "reschedule"."""

    def remember(self, waiter: Any, context: Context) -> None:
        """Write down what the next process of a sensor in mode "reschedule" has to know."""

    @abstractmethod
    def conclude(self, end: Any, context: Context) -> dict[str, Any]:
        """End the task as what was waited for ended; return its result."""

    @abstractmethod
    def without_outcome(self, context: Context) -> dict[str, Any]:
        """Return the result of a wait that comes to nothing, less its status and reason."""

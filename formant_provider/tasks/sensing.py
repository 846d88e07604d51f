"""Holds what both sensors share: three ways to wait, and a result that is left whatever comes of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.privacy import PrivateFields
from formant_provider.tasks.results import a_result_in_any_case, no_outcome
from formant_provider.tasks.waiting import Look, defer_wait, now

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from formant_provider.core.conversations.waiters import BaseWaiter
    from formant_provider.core.polling.loop import Source
    from formant_provider.tasks.failures import Activity
    from formant_provider.triggers.shared import WaitResult

EndT = TypeVar("EndT", bound="WaitResult")


class WaitingSensor(PrivateFields, BaseSensorOperator, Generic[EndT]):
    """Waits in each of the three ways of Airflow's sensors; subclasses say for what."""

    formant_conn_id: str
    region: str | None
    deferrable: bool
    # Fields of a result that are XComs of their own as well.
    pushed_apart: ClassVar[tuple[str, ...]] = ()

    _look: Look | None = None
    _waiter: BaseWaiter | None = None

    @cached_property
    def hook(self) -> FormantHook:
        """What leads to the API; the connection is read when it is used."""
        return FormantHook(self.formant_conn_id, self.region)

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
            if self._look is None or self._waiter is None:
                feed, self._waiter = self.join(context)
                self._look = Look(self.hook, feed)
            self._look.once()
            if self._waiter.error:
                raise self._waiter.error
        if self._waiter.outcome is None:
            self.remember(self._waiter, context)
            return False
        result = self.conclude(self.end_of(self._waiter, context), context)
        return PokeReturnValue(is_done=True, xcom_value=result)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Continue after the wait in the triggerer."""
        end = self.end_from(event)
        self.resumed(end, context)
        with self._leaving_a_result(context):
            with self.waiting_for_it():
                end.raise_error()
            if not self.is_over(end):
                text = f"{self.subject_of(end)} was not over within {self.timeout:g} s"
                raise AirflowSkipException(text) if self.soft_fail else AirflowSensorTimeout(text)
            return self.conclude(end, context)

    def waiting_for_it(self) -> AbstractContextManager[None]:
        """Let our errors end the task as those of a wait do."""
        from formant_provider.tasks.failures import ending_the_task

        return ending_the_task(self.activity(), self.hook)

    def _leaving_a_result(self, context: Context) -> AbstractContextManager[None]:
        """Leave a result also when the wait comes to nothing."""
        nothing = lambda: self.without_outcome(context)  # noqa: E731
        return a_result_in_any_case(context, nothing, no_outcome, apart=self.pushed_apart)

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        """Put the next look off for as long as the API asks."""
        asked_s = self._look.wait_s if self._look else 0.0
        interval_s: float = super()._get_next_poke_interval(*args, **kwargs)
        return max(interval_s, asked_s)

    @abstractmethod
    def activity(self) -> Activity:
        """Return what the task is doing, by which its errors are explained."""

    @abstractmethod
    def trigger(self, context: Context, deadline: datetime) -> BaseTrigger:
        """Check the rendered fields; return the trigger that waits in the triggerer."""

    @abstractmethod
    def join(self, context: Context) -> tuple[Source, BaseWaiter]:
        """Check the rendered fields; begin to wait in this process."""

    def remember(self, waiter: Any, context: Context) -> None:
        """Write down what the next process of a sensor in mode "reschedule" has to know."""

    @abstractmethod
    def end_of(self, waiter: Any, context: Context) -> EndT:
        """Return what a wait in this process came to."""

    @abstractmethod
    def end_from(self, event: Mapping[str, Any]) -> EndT:
        """Return what a wait in the triggerer came to."""

    def resumed(self, end: EndT, context: Context) -> None:
        """Do what is done first after the wait in the triggerer."""

    @abstractmethod
    def is_over(self, end: EndT) -> bool:
        """Whether the wait ended before the time was up."""

    @abstractmethod
    def subject_of(self, end: EndT) -> str:
        """Return what was waited for, as a sentence begins."""

    @abstractmethod
    def conclude(self, end: EndT, context: Context) -> dict[str, Any]:
        """End the task as what was waited for ended; return its result."""

    @abstractmethod
    def without_outcome(self, context: Context) -> dict[str, Any]:
        """Return the result of a wait that comes to nothing, less its status and reason."""

"""The fields of a call list's task, as the rooms beside this one read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from formant_provider.tasks.lateness import lateness_s
from formant_provider.tasks.options import one_of, percent, seconds

if TYPE_CHECKING:
    from formant_provider.attempts import Attempts
    from formant_provider.call_cap import CallCap
    from formant_provider.calling_window import CallingWindow
    from formant_provider.core.call_lists.variants import Variants
    from formant_provider.core.conversations.statuses import Endings
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.stop_when import StopWhen
    from formant_provider.tasks.call_lists.results import ResultOptions
    from formant_provider.tasks.contact_rules import ContactRules
    from formant_provider.tasks.given_fields import Given

OnListTimeout = Literal["fail", "return"]
OnListCapped = Literal["skip", "schedule"]
OnBelowThreshold = Literal["fail", "succeed"]
MOST_AT_ONCE = 16


@dataclass(frozen=True)
class PlacingOptions:
    """What a user chose of the placement, checked when the DAG file is parsed. See the operator."""

    concurrency: int | None
    max_inline_wait: float | timedelta
    max_lateness: float | timedelta | None

    def __post_init__(self) -> None:
        given = self.concurrency
        is_number = isinstance(given, int) and not isinstance(given, bool)
        if given is not None and not (is_number and 1 <= given <= MOST_AT_ONCE):
            raise ValueError(f"concurrency must be from 1 to {MOST_AT_ONCE}, or None; not {given!r}")
        if seconds("max_inline_wait", self.max_inline_wait) < 1:
            raise ValueError("max_inline_wait must be at least a second")
        lateness_s(self.max_lateness)

    @property
    def longest_wait(self) -> timedelta:
        """For how long a worker may wait for something to do."""
        return timedelta(seconds=seconds("max_inline_wait", self.max_inline_wait))


@dataclass(frozen=True)
class FollowingOptions:
    """What a user chose of how calls are followed to their end, checked as well. See the operator."""

    poll_interval: float | timedelta
    safety_poll_interval: float | timedelta
    call_timeout: float | timedelta
    settle_for: float | timedelta
    success_statuses: frozenset[str]
    terminal_statuses: frozenset[str]

    def __post_init__(self) -> None:
        for name in ("poll_interval", "safety_poll_interval", "call_timeout"):
            if seconds(name, getattr(self, name)) <= 0:
                raise ValueError(f"{name} must be above 0; not {getattr(self, name)!r}")
        seconds("settle_for", self.settle_for)

    @property
    def endings(self) -> Endings:
        """What ends a call."""
        from formant_provider.core.conversations.statuses import Endings

        return Endings(
            successful=frozenset(self.success_statuses),
            further=frozenset(self.terminal_statuses),
            settle_for=timedelta(seconds=seconds("settle_for", self.settle_for)),
        )


@dataclass(frozen=True)
class EndOptions:
    """What a user chose of how a list ends, checked as well. See the operator."""

    on_timeout: OnListTimeout
    min_success_rate: float | None
    on_below_threshold: OnBelowThreshold

    def __post_init__(self) -> None:
        one_of("on_timeout", self.on_timeout, get_args(OnListTimeout))
        percent("min_success_rate", self.min_success_rate)
        one_of("on_below_threshold", self.on_below_threshold, get_args(OnBelowThreshold))


class CallListTask(Protocol):
    """What the operator's helpers read of it: its rendered fields, and its options."""

    calls: Any
    suppress: Any
    agent_id: int | str | None
    variants: Variants | None
    columns: Mapping[str, str | None]
    reference: str | int | None
    calling_window: CallingWindow | None
    call_cap: CallCap | None
    on_capped: OnListCapped
    attempts: Attempts
    stop_when: StopWhen | None
    hold: bool | str | None
    hold_variable: str | None
    results_uri: str | None
    progress_uri: str | None
    summary_uri: str | None
    rules: ContactRules
    result_options: ResultOptions
    placing: PlacingOptions
    following: FollowingOptions
    ending: EndOptions
    timeout_s: float
    given: Given
    do_xcom_push: bool

    @property
    def hook(self) -> FormantHook:
        """The hook of the task."""

    def refuse_missing(self) -> None:
        """Refuse a field that the DAG file gives, and that has no value now."""

"""The fields of a batch call's task, as the rooms beside this one read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from formant_provider.tasks.lateness import lateness_s
from formant_provider.tasks.options import flag, seconds

if TYPE_CHECKING:
    from formant_provider.call_cap import CallCap
    from formant_provider.calling_window import CallingWindow
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.tasks.batches.report import ReportOptions
    from formant_provider.tasks.batches.waiting import BatchOptions
    from formant_provider.tasks.capping import OnCappedUpload
    from formant_provider.tasks.contact_rules import ContactRules
    from formant_provider.tasks.given_fields import Given
    from formant_provider.tasks.timing import OnClosedUpload

OnBatchTimeout = Literal["fail", "return"]


@dataclass(frozen=True)
class PlacingOptions:
    """What a user chose of the placement, checked when the DAG file is parsed. See the operator."""

    max_lateness: float | timedelta | None
    lookup_timeout: float | timedelta
    resubmit_if_missing: bool

    def __post_init__(self) -> None:
        lateness_s(self.max_lateness)
        seconds("lookup_timeout", self.lookup_timeout)
        flag("resubmit_if_missing", self.resubmit_if_missing)


class BatchTask(Protocol):
    """What the operator's helpers read of it: its rendered fields, and its options."""

    agent_id: int | str
    name: str
    reference: str | int | None
    contacts: Any
    suppress: Any
    idempotency_key: str | None
    rejects_uri: str | None
    results_uri: str | None
    summary_uri: str | None
    calling_window: CallingWindow | None
    on_closed: OnClosedUpload
    call_cap: CallCap | None
    on_capped: OnCappedUpload
    rules: ContactRules
    report_options: ReportOptions
    placing: PlacingOptions
    waiting: BatchOptions
    wait_for_completion: bool
    deferrable: bool
    timeout_s: float
    on_timeout: OnBatchTimeout
    given: Given
    do_xcom_push: bool

    @property
    def hook(self) -> FormantHook:
        """The hook of the task."""

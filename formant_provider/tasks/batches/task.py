"""The task of a batch call, as the helpers of its operator see it: fields, options, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from formant_provider.tasks.batches.outputs import check_written_outputs
from formant_provider.tasks.batches.report import check_report
from formant_provider.tasks.lateness import lateness_s
from formant_provider.tasks.options import refuse_idle, seconds
from formant_provider.tasks.privacy import reveal

if TYPE_CHECKING:
    from formant_provider.calling_window import CallingWindow
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.tasks.batches.contact_options import ContactRules
    from formant_provider.tasks.batches.report import ReportOptions
    from formant_provider.tasks.batches.waiting import BatchOptions
    from formant_provider.tasks.given_fields import Given
    from formant_provider.tasks.timing import OnClosedUpload

OnBatchTimeout = Literal["fail", "return"]


@dataclass(frozen=True)
class PlacingOptions:
    """What a user chose of the placement, checked when the DAG file is parsed. See the operator.

    :raises ValueError: one of them is invalid.
    """

    max_lateness: float | timedelta | None
    lookup_timeout: float | timedelta
    resubmit_if_missing: bool

    def __post_init__(self) -> None:
        lateness_s(self.max_lateness)
        seconds("lookup_timeout", self.lookup_timeout)


class BatchTask(Protocol):
    """What the operator's helpers read of it: its rendered fields, and its options."""

    agent_id: int | str
    name: str
    contacts: Any
    suppress: Any
    idempotency_key: str | None
    rejects_uri: str | None
    results_uri: str | None
    calling_window: CallingWindow | None
    on_closed: OnClosedUpload
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


def check_fields(task: BatchTask, *, is_row: bool) -> None:
    """Refuse fields that are invalid whatever the templates render to, when the DAG file is parsed.

    :param is_row: whether the task is a row of a mapped one, and so is checked when it runs.
    :raises ValueError: with what to write instead.
    """
    at_the_end = {"results_uri": task.results_uri, "min_success_rate": task.waiting.min_success_rate}
    for name, value in at_the_end.items():
        if value is not None and not task.wait_for_completion:
            raise ValueError(f"{name} needs wait_for_completion=True: it is known only at the end")
    if is_row:  # other rows may have the file
        return
    check_report(task.given, task.results_uri, task.rejects_uri)
    check_written_outputs(reveal(task.contacts), reveal(task.suppress), task.rejects_uri, task.results_uri)
    refuse_idle(task.given, ["on_closed"], "calling_window", met=task.calling_window is not None)

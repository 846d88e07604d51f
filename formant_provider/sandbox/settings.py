"""The settings of a sandbox."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from formant_provider.sandbox.recording import HEADER_BYTES, MAX_BYTES

DEFAULT_AGENTS = (123, 456, 497, 789)
DEFAULT_KEY = "sandbox-key"

ReceiptConversationId = Literal["scheduled", "always", "never"]
RecordAppears = Literal["end", "start"]
ListOrder = Literal["newest_first", "oldest_first", "newest_end_first", "unordered"]
RedialTraceId = Literal["same", "new"]
ListNumbers = Literal["full", "masked", "none"]
UncountedOutcomes = Literal["nowhere", "processed", "failed"]
WebhookTimestampUnit = Literal["seconds", "milliseconds"]

CHOICES: dict[str, Any] = {
    "receipt_conversation_id": ReceiptConversationId,
    "record_appears": RecordAppears,
    "list_order": ListOrder,
    "list_numbers": ListNumbers,
    "redial_trace_id": RedialTraceId,
    "uncounted_outcomes": UncountedOutcomes,
    "webhook_timestamp_unit": WebhookTimestampUnit,
}
"""The settings that are one of a few words, and the type that names these."""

_POSITIVE = (
    "call_speed",
    "rate_limit",
    "rate_window_seconds",
    "max_concurrent_calls",
    "batch_calls_per_minute",
    "webhook_connections",
    "webhook_timeout_seconds",
)
_NOT_NEGATIVE = (
    "results_delay_seconds",
    "recording_delay_seconds",
    "platform_redials",
    "platform_redial_after_seconds",
    "seconds_per_request",
    "batch_list_lag_reads",
    "transcription_seconds",
)


@dataclass(kw_only=True, eq=False)
class Settings:
    """How a sandbox behaves. Where the vendor's documents leave a question open, there is a switch.

    :param api_key: the key clients must send.
    :param other_keys: further valid keys. Each key is a tenant of its own: same agents, other conversations.
    :param agents: ids of the agents that exist.
    :param start_at: virtual time to begin with, aware. None is the real time.
    :param speed: virtual seconds per real second; 1 keeps step with real clocks, 0 freezes the clock until
        it is advanced.
    :param call_speed: how many times sooner calls end than in the table of test numbers; the clock stays
        as it is. With a ``speed`` other than 0 or 1 no client can tell by its own clock when its calls began;
        with this it can.
    :param host: literal IPv4 loopback address to bind.
    :param port: TCP port; 0 lets the system choose, and becomes the chosen one at the first start.
    :param rate_limit: requests per key and window; None switches the limit and its headers off.
    :param rate_window_seconds: length of that window, virtual seconds.
    :param max_concurrent_calls: most calls of one key that may run at the same time; None is no cap.
    :param failed_request_uses_key: a POST /v1/call answered 429, or by a 500 or 503 fault before it was
        accepted, has used up its idempotency key all the same.
    :param receipt_conversation_id: which receipts carry a ``conversation_id``; the others say null.
    :param record_appears: whether a record can be read from the start of its call or only from the end.
    :param list_order: order of the conversation list: by start of the call, newest or oldest first; by its
        end, newest first, running calls ahead; or unordered, which is arbitrary but always the same.
    :param inbound_in_list: calls that an agent received are in the conversation list too; their records can
        be read by their ids in any case.
    :param list_numbers: how the conversation list gives ``contact_number``: in full, masked in the middle, or
        not at all. A detail has it in full.
    :param trace_id_in_list: list items carry ``trace_id``.
    :param trace_id_in_detail: the detail of a record carries ``trace_id``.
    :param times_in_detail: the detail of a record carries ``start_timestamp`` and ``end_timestamp``, which
        the vendor's own sample of one lacks.
    :param results_delay_seconds: virtual seconds from the end of a call to its results and transcript; they
        are null until then.
    :param recording_bytes: size of every recording, header included.
    :param recording_delay_seconds: virtual seconds from the end of a call to its recording.
    :param platform_redials: how often the platform itself redials a call that ends other than ``completed``.
        The last redial is answered and completed, the ones before end like the call.
    :param platform_redial_after_seconds: virtual seconds from the end of an attempt to its redial.
    :param redial_trace_id: whether a redial's record has the trace of its call or one of its own.
    :param batch_calls_per_minute: how many rows of a batch call are called in a virtual minute.
    :param batch_list_lag_reads: a new batch call is left out of so many list reads that would have shown it.
    :param batch_status_moves: the status of a batch call goes from ``pending`` to ``in_progress`` and
        ``completed``, which are not the vendor's words; otherwise it stays ``pending``.
    :param uncounted_outcomes: where the metrics put outcomes that have no count of their own: nowhere, so
        that they never add up; in ``total_processed`` alone; or in ``failed_count`` as well.
    :param transcription_seconds: virtual seconds from the creation of a transcription job to its end.
    :param transcription_ends_as: the status of a transcription job that is over. The vendor documents
        ``completed`` and no word for a failure.
    :param webhook_connections: how many webhooks are sent to a target at the same time. With 1 they arrive in
        the order of virtual time, one after the other.
    :param webhook_timeout_seconds: real seconds within which the receiver of a webhook has to respond.
    :param webhook_timestamp_unit: unit of the header ``X-FormantAI-Timestamp``.
    :param seconds_per_request: virtual seconds by which every vendor request moves the clock, once it is
        answered.
    :param echo_values_in_errors: the message of a 400 repeats the body of the request, as a careless vendor's
        would.
    :raises ValueError: a value is invalid.
    """

    api_key: str = field(default=DEFAULT_KEY, repr=False)
    other_keys: Collection[str] = field(default=(), repr=False)
    agents: Collection[int] = DEFAULT_AGENTS
    start_at: datetime | None = None
    speed: float = 1.0
    call_speed: float = 1.0
    host: str = "127.0.0.1"
    port: int = 0
    rate_limit: int | None = 50
    rate_window_seconds: float = 60.0
    max_concurrent_calls: int | None = None
    failed_request_uses_key: bool = False
    receipt_conversation_id: ReceiptConversationId = "scheduled"
    record_appears: RecordAppears = "end"
    list_order: ListOrder = "newest_first"
    inbound_in_list: bool = True
    list_numbers: ListNumbers = "full"
    trace_id_in_list: bool = False
    trace_id_in_detail: bool = True
    times_in_detail: bool = True
    results_delay_seconds: float = 0.0
    recording_bytes: int = 32_044
    recording_delay_seconds: float = 0.0
    platform_redials: int = 0
    platform_redial_after_seconds: float = 300.0
    redial_trace_id: RedialTraceId = "same"
    batch_calls_per_minute: int = 60_000
    batch_list_lag_reads: int = 0
    batch_status_moves: bool = False
    uncounted_outcomes: UncountedOutcomes = "nowhere"
    transcription_seconds: float = 10.0
    transcription_ends_as: str = "completed"
    webhook_connections: int = 1
    webhook_timeout_seconds: float = 10.0
    webhook_timestamp_unit: WebhookTimestampUnit = "seconds"
    seconds_per_request: float = 0.0
    echo_values_in_errors: bool = False

    def __post_init__(self) -> None:
        _require_loopback(self.host)
        for name, choices in CHOICES.items():
            _require_choice(name, getattr(self, name), get_args(choices))
        for name in _POSITIVE:
            _require_positive(name, getattr(self, name))
        for name in _NOT_NEGATIVE:
            _require_not_negative(name, getattr(self, name))
        if not HEADER_BYTES <= self.recording_bytes <= MAX_BYTES:
            raise ValueError(f"recording_bytes must be a size from {HEADER_BYTES} to {MAX_BYTES}")
        if not all(_fits_a_header(key) for key in self.tenants):
            raise ValueError("every key must be printable ASCII without spaces, and not empty")

    @property
    def tenants(self) -> frozenset[str]:
        """Every valid key. A key stands for its tenant."""
        return frozenset({self.api_key, *self.other_keys})


def _require_loopback(host: str) -> None:
    try:
        loopback = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"host must be an IPv4 loopback address such as 127.0.0.1, not {host!r}")


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _require_positive(name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")


def _require_not_negative(name: str, value: float) -> None:
    if not 0 <= value < 10**9:
        raise ValueError(f"{name} must be 0 or more, not {value!r}")


def _fits_a_header(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key and key != ""

"""Each call is a span of OpenTelemetry, with the vendor's ids and nothing private."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from formant_provider.hooks.telemetry.measuring import AirflowTelemetry
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import needs_state_store

NUMBERS = ("+14155550100", "+14155550120")
PRIVATE = ("key-1234567", "Asha", *(number[1:] for number in NUMBERS))
EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    """Be the user who has set up OpenTelemetry; a process can do that once."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key="key-1234567", speed=500, rate_limit=None) as sandbox:
        yield sandbox


def spans_of(task: Any, sandbox: Sandbox) -> tuple[Any, list[ReadableSpan]]:
    """Run a task within a span, as Airflow does; return what it left, and the spans of this provider."""
    EXPORTER.clear()
    with trace.get_tracer("airflow").start_as_current_span("worker.task") as parent:
        run = run_task(task, FakeSupervisor({"formant_default": sandbox.connection_uri()}))
    spans = [span for span in EXPORTER.get_finished_spans() if span.name.startswith("formant.")]
    for span in spans:
        assert span.parent is not None
        assert span.parent.span_id == parent.get_span_context().span_id
        assert not any(private in span.to_json() for private in PRIVATE)
    return run, spans


@contextmanager
def switching_often() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def test_a_call_and_its_conversation_are_spans_with_the_ids_of_the_vendor(sandbox: Sandbox) -> None:
    """One for placing it, and one as long as the conversation; both belong to the span of the task."""
    task = FormantCreateCallOperator(
        task_id="call",
        agent_id=456,
        parameters={"customer_phone": NUMBERS[0], "customer_name": "Asha"},
        wait_for_completion=True,
        poll_interval=0.1,
        deferrable=False,
    )
    run, (placed, talked) = spans_of(task, sandbox)
    ids = {"formant.conn_id": "formant_default", "formant.agent_id": 456}
    ids["formant.trace_id"] = run.xcoms["trace_id"]
    assert (placed.name, dict(placed.attributes or {})) == (
        "formant.call",
        {**ids, "formant.placement": "placed", "formant.attempt": 1},
    )
    result = run.xcoms["return_value"]
    conversation = {"formant.conversation_id": result["conversation_id"], "formant.status": "completed"}
    assert (talked.name, dict(talked.attributes or {})) == ("formant.conversation", {**ids, **conversation})
    began, ended = result["start_timestamp"], result["end_timestamp"]
    assert (talked.start_time, talked.end_time) == (began * 1_000_000, ended * 1_000_000)
    assert sandbox.rings == {NUMBERS[0]: 1}


def test_a_refused_call_is_a_span_with_the_name_of_the_error_alone(sandbox: Sandbox) -> None:
    """What an error says may hold anything, so its text is in no span."""
    task = FormantCreateCallOperator(
        task_id="call", agent_id=7, parameters={"customer_phone": NUMBERS[0], "customer_name": "Asha"}
    )
    run, (span,) = spans_of(task, sandbox)
    assert run.state == "failed"
    assert dict(span.attributes or {})["error.type"] == "NotFound"
    assert not span.events


@needs_state_store
def test_each_call_of_a_list_is_a_span_of_the_tasks_span(sandbox: Sandbox) -> None:
    """They are placed in threads, which have no current span."""
    people = [{"customer_phone": number, "customer_name": "Asha"} for number in NUMBERS]
    task = FormantCallListOperator(task_id="list", agent_id=456, calls=people, poll_interval=0.1)
    _, spans = spans_of(task, sandbox)
    assert [span.name for span in spans] == ["formant.call"] * 2
    traces = {dict(span.attributes or {})["formant.trace_id"] for span in spans}
    assert traces == {call.trace_id for call in sandbox.calls}
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)


def test_calls_that_begin_at_once_in_many_threads_are_spans_all() -> None:
    """A call list places up to 16 at a time."""
    EXPORTER.clear()
    with trace.get_tracer("airflow").start_as_current_span("worker.task") as parent:
        telemetry = AirflowTelemetry("formant_default")
    at_once = threading.Barrier(16)

    def trace_some(_: int) -> None:
        at_once.wait()
        for _ in range(20):
            with telemetry.span("formant.call"):
                pass

    with switching_often(), ThreadPoolExecutor(16) as threads:
        list(threads.map(trace_some, range(16)))
    spans = [span for span in EXPORTER.get_finished_spans() if span.name == "formant.call"]
    assert len(spans) == 16 * 20
    assert {span.parent and span.parent.span_id for span in spans} == {parent.get_span_context().span_id}


def test_a_batch_call_is_one_span(sandbox: Sandbox) -> None:
    """However many people are in it; its id is the attribute."""
    people = [{"customer_phone": number, "customer_name": "Asha"} for number in NUMBERS]
    task = FormantCreateBatchCallOperator(task_id="batch", agent_id=456, name="b", contacts=people)
    run, (span,) = spans_of(task, sandbox)
    assert span.name == "formant.batch_call"
    assert dict(span.attributes or {})["formant.batch_id"] == run.xcoms["batch_id"]

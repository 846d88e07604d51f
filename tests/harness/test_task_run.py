"""The operator-layer harness keeps its promises: trivial operators through the real task runner."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.execution_time import comms
from airflow.sdk.log import mask_secret
from airflow.triggers.base import BaseTrigger, TriggerEvent

from support.task_run import FakeSupervisor, make_dag, run_task, run_trigger, supervised_by

has_state_store = hasattr(comms, "GetTaskStateStore")
needs_state_store = pytest.mark.skipif(
    not has_state_store, reason="the task state store came with Airflow 3.3"
)

PRIVATE = "+15550001234"


class Push(BaseOperator):
    """Pushes two XComs besides what it returns."""

    template_fields = ("text",)

    def __init__(self, text: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: Any) -> Any:
        context["ti"].xcom_push("one", 1)
        context["ti"].xcom_push("two", {"b": [2]})
        return self.text


class Fail(BaseOperator):
    """Fails with a private value in a chained exception."""

    def execute(self, context: Any) -> Any:
        try:
            raise KeyError(PRIVATE)
        except KeyError as cause:
            raise ValueError(f"no luck in {context['run_id']}") from cause


class Echo(BaseTrigger):
    """Fires at once with what it was given, and with the host of a connection."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"word": self.word}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        conn = await BaseHook.aget_connection("db")
        self.log.info("about to fire")
        yield TriggerEvent({"word": self.word, "host": conn.host})


class Defer(BaseOperator):
    """Pushes an id, then waits for an ``Echo``."""

    def execute(self, context: Any) -> Any:
        context["ti"].xcom_push("id", 7)
        self.defer(trigger=Echo("hi"), method_name="done", kwargs={"more": 1}, timeout=timedelta(hours=1))

    def done(self, context: Any, more: int, event: Any) -> Any:
        return [context["run_id"], more, event]


class Call(BaseOperator):
    """Runs a function that a test gives it."""

    def __init__(self, function: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def execute(self, context: Any) -> Any:
        return self.function(context)


def call(function: Any, **kwargs: Any) -> Call:
    return Call(task_id="call", function=function, **kwargs)


def test_xcoms_and_rendered_fields_are_seen() -> None:
    """A run shows its XComs by key and its template fields as the server gets them."""
    result = run_task(Push(task_id="push", text="{{ run_id }} {{ ds }} {{ params.p }}", params={"p": 1}))
    assert (result.state, result.error) == ("success", None)
    assert result.xcoms == {"one": 1, "two": {"b": [2]}, "return_value": "r1 2026-01-01 1"}
    assert result.rendered_fields == {"text": "r1 2026-01-01 1"}


def test_a_run_conf_reaches_templates() -> None:
    """The conf of the run and a run without a logical date work as in a triggered run."""
    result = run_task(
        Push(task_id="push", text="{{ dag_run.conf.who }}"), conf={"who": "me"}, logical_date=None
    )
    assert result.xcoms["return_value"] == "me"


def test_a_failure_is_retried_while_tries_are_left() -> None:
    """Tries left make a failure up_for_retry, the last one makes it failed."""
    channel, operator = FakeSupervisor(), Fail(task_id="fail", retries=1)
    first, last = run_task(operator, channel), run_task(operator, channel, try_number=2)
    assert (first.state, last.state) == ("up_for_retry", "failed")
    assert isinstance(last.error, ValueError)
    assert run_task(Fail(task_id="fail"), should_retry=True).state == "up_for_retry"


def test_failure_callbacks_run() -> None:
    """Callbacks run after the task, with the exception in their context."""
    seen: list[Any] = []
    run_task(Fail(task_id="fail", on_failure_callback=lambda context: seen.append(context["exception"])))
    assert [type(error) for error in seen] == [ValueError]


def test_a_new_try_starts_without_xcoms() -> None:
    """As in Airflow, a new try of the task finds its XComs gone."""
    channel = FakeSupervisor()
    run_task(Push(task_id="call"), channel)
    second = run_task(call(lambda _: None), channel, try_number=2)
    assert second.xcoms == {}


def test_deferral_keeps_xcoms_and_resumes_with_the_event() -> None:
    """A deferred task resumes in its method, with its own arguments, the event and its XComs."""
    channel, operator = FakeSupervisor({"db": {"conn_type": "x", "host": "h"}}), Defer(task_id="defer")
    first = run_task(operator, channel)
    assert first.state == "deferred"
    assert first.deferral.trigger_timeout == timedelta(hours=1)
    fired = run_trigger(first.deferral, channel)
    assert "about to fire" in fired.log_text
    second = run_task(operator, channel, resume_event=fired.event)
    assert second.xcoms == {"id": 7, "return_value": ["r1", 1, {"word": "hi", "host": "h"}]}
    assert second.deferral is None


def test_a_deferral_can_time_out() -> None:
    """A trigger timeout fails the task as Airflow does."""
    channel, operator = FakeSupervisor(), Defer(task_id="defer")
    run_task(operator, channel)
    result = run_task(operator, channel, resume_timeout=True)
    assert result.state == "failed"
    assert "TaskDeferralTimeout" in result.log_text


@pytest.mark.parametrize("index", [0, 1])
def test_mapped_operators_run_by_index(index: int) -> None:
    """``expand`` and ``expand_kwargs`` go through Airflow's own unmapping and rendering."""
    with make_dag():
        by_value = Push.partial(task_id="a", retries=1).expand(text=["{{ ti.map_index }}", "b"])
        by_kwargs = Push.partial(task_id="c").expand_kwargs([{"text": "c"}, {"text": "d"}])
    assert run_task(by_value, map_index=index).xcoms["return_value"] == "0b"[index]
    assert run_task(by_kwargs, map_index=index).rendered_fields == {"text": "cd"[index]}


def test_xcoms_reach_downstream_tasks() -> None:
    """``operator.output`` and mapping over an upstream result read the channel's XComs."""
    channel = FakeSupervisor()
    with make_dag():
        source = call(lambda _: ["x", "y"])
        mapped = Push.partial(task_id="mapped").expand(text=source.output)
        last = Push(task_id="last", text=mapped.output["one"])
    run_task(source, channel)
    results = [run_task(mapped, channel, map_index=index).xcoms["return_value"] for index in (0, 1)]
    assert results == ["x", "y"]
    assert run_task(last, channel).rendered_fields["text"]


FIELDS = {"conn_type": "x", "password": "pw", "extra": {"a": "1"}}


@pytest.mark.parametrize("given", ["x://me:pw@h:1/s?a=1", FIELDS])
def test_connections_come_from_the_channel(given: Any) -> None:
    """A connection is given as a URI or as fields; its password is masked from then on."""
    channel = FakeSupervisor({"c": given})

    def read(_: Any) -> Any:
        conn = BaseHook.get_connection("c")
        return [conn.conn_type, conn.password, conn.extra_dejson]

    assert run_task(call(read), channel).xcoms["return_value"] == ["x", "pw", {"a": "1"}]
    with supervised_by(channel):
        assert BaseHook.get_connection("c").password == "pw"


def test_an_unknown_connection_is_not_found() -> None:
    """A missing connection fails as it does on a worker."""
    result = run_task(call(lambda _: BaseHook.get_connection("nope")))
    assert result.state == "failed"
    assert "nope" in str(result.error)


def test_logs_show_what_masking_hides() -> None:
    """Structlog lines, stdlib lines and chained tracebacks are seen raw, and as a person sees them."""

    def talk(context: Any) -> None:
        mask_secret(PRIVATE)
        context["ti"].task.log.info("structlog %s", PRIVATE, field=[PRIVATE])
        logging.getLogger("some.library").debug("stdlib %s", PRIVATE)
        Fail(task_id="inner").execute(context)

    result = run_task(call(talk))
    assert result.log_text.count(PRIVATE) == 4
    assert "raise KeyError(PRIVATE)" in result.log_text
    assert "ValueError: no luck in r1" in result.masked_log_text
    assert PRIVATE not in result.masked_log_text


def test_masks_do_not_outlive_a_run() -> None:
    """A value masked in one run is visible in the next."""
    run_task(call(lambda _: mask_secret(PRIVATE)))
    result = run_task(Push(task_id="push", text=PRIVATE))
    assert result.rendered_fields == {"text": PRIVATE}


def test_the_process_is_left_as_it_was() -> None:
    """Neither Airflow's SIGTERM handler nor its environment variables stay behind."""
    before = signal.getsignal(signal.SIGTERM)
    run_task(Push(task_id="push"))
    assert signal.getsignal(signal.SIGTERM) is before
    assert "AIRFLOW_CTX_DAG_ID" not in os.environ


def test_sigterm_reaches_on_kill() -> None:
    """A SIGTERM during the run calls ``on_kill``, and the code goes on, as on a worker."""
    killed: list[bool] = []
    operator = call(lambda _: os.kill(os.getpid(), signal.SIGTERM) or "went on")
    operator.on_kill = lambda: killed.append(True)  # type: ignore[method-assign]
    assert run_task(operator).xcoms["return_value"] == "went on"
    assert killed == [True]


@needs_state_store
def test_the_state_store_survives_a_retry() -> None:
    """What one try writes, the next one reads; another map index does not."""
    channel = FakeSupervisor()
    run_task(call(lambda context: context["task_state_store"].set("k", {"v": 1})), channel)
    read = call(lambda context: context["task_state_store"].get("k", default="nothing"))
    second = run_task(read, channel, try_number=2)
    assert second.xcoms["return_value"] == second.state_store["k"] == {"v": 1}
    assert run_task(read, channel, map_index=3).xcoms["return_value"] == "nothing"


@needs_state_store
def test_a_stale_try_cannot_write_the_state_store() -> None:
    """A process whose task was retried elsewhere reads nothing and fails to write, as in Airflow."""
    channel = FakeSupervisor()
    stores: list[Any] = []
    run_task(call(lambda context: stores.append(context["task_state_store"])), channel)
    run_task(call(lambda context: context["task_state_store"].set("k", 1)), channel, try_number=2)
    with supervised_by(channel):
        assert stores[0].get("k") is None
        with pytest.raises(Exception, match="404"):
            stores[0].set("k", 2)


@needs_state_store
def test_the_server_can_refuse_a_message() -> None:
    """A refused kind of message raises in the task, as a server error does."""
    channel = FakeSupervisor()
    channel.refused.add("SetTaskStateStore")
    result = run_task(call(lambda context: context["task_state_store"].set("k", 1)), channel)
    assert result.state == "failed"
    assert "API_SERVER_ERROR" in str(result.error)


def test_an_airflow_without_state_store_can_be_had() -> None:
    """``state_store=False`` shows the task the context of an Airflow before 3.3."""
    result = run_task(call(lambda context: context.get("task_state_store") is None), state_store=False)
    assert result.xcoms["return_value"] is True

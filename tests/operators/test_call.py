from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest

from formant_provider.calling_window import CallingWindow
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from support.calls import CREATE_CALL, NUMBER, an_operator
from support.scripted_server import Answer, ScriptedServer
from support.supervisor import FakeSupervisor
from support.task_run import make_dag, run_task

KEY = "key-1234567"  # the conftest's sandbox knows it
PEOPLE = [{"customer_phone": f"+1415555012{n}", "customer_name": f"Person {n}"} for n in range(3)]


def keys_sent(sandbox: Sandbox) -> list[str]:
    return [seen.body["idempotency_key"] for seen in sandbox.requests if seen.method == "POST"]


def test_the_vendor_s_own_example_goes_out_as_the_vendor_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body on the wire equals the vendor's JSON plus the key; nothing else is added."""
    before = pendulum.datetime(2026, 4, 7)
    monkeypatch.setattr(pendulum, "now", lambda *_: before)
    operator = an_operator(
        parameters={"customer_phone": "+14155552671"}, scheduled_for="2026-04-08T14:00:00Z"
    )
    with Sandbox(start_at=before, speed=0) as sandbox:
        run = run_task(operator, FakeSupervisor({"formant_default": sandbox.connection_uri()}))
        (seen,) = sandbox.requests
    assert run.state == "success"
    key = seen.body.pop("idempotency_key")
    assert seen.body == {
        "agent_id": 456,
        "parameters": [{"name": "customer_phone", "value": "+14155552671"}],
        "scheduled_for": "2026-04-08T14:00:00Z",
    }
    assert key


def test_the_ids_are_handed_on(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """XCom holds the receipt as a plain dict, and trace_id and conversation_id on keys of their own."""
    run = run_task(an_operator(scheduled_for=pendulum.now("UTC").add(days=1)), channel)
    (call,) = sandbox.calls
    assert run.state == "success"
    receipt = run.xcoms["return_value"]
    assert set(receipt) == {
        "agent_id", "trace_id", "conversation_id", "status", "scheduled_for", "placement",
        "reason", "map_index", "reference",
    }  # fmt: skip
    assert receipt["placement"] == "placed"
    assert receipt["status"] == "scheduled"
    assert receipt["trace_id"] == run.xcoms["trace_id"] == call.trace_id
    assert receipt["conversation_id"] == run.xcoms["conversation_id"]
    assert receipt["conversation_id"]
    assert json.loads(json.dumps(receipt)) == receipt


def test_a_missing_conversation_id_can_be_read_downstream(channel: FakeSupervisor) -> None:
    """An immediate call has no conversation yet: None in the receipt, and blank text on the id's own key."""
    run = run_task(an_operator(), channel)
    assert run.xcoms["return_value"]["status"] == "initiated"
    assert run.xcoms["return_value"]["conversation_id"] is None
    assert run.xcoms["conversation_id"] == ""


@pytest.mark.parametrize("mapped", [False, True])
def test_nothing_is_pushed_when_the_user_wants_no_xcom(
    mapped: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """do_xcom_push=False is heeded for every key, also by rows of a list, which tell each other theirs."""
    with make_dag():
        partial = FormantCreateCallOperator.partial(task_id="each", agent_id=456, do_xcom_push=False)
        operators = [an_operator(do_xcom_push=False), partial.expand(parameters=PEOPLE[:1])]
    run = run_task(operators[mapped], channel, map_index=0 if mapped else -1)
    assert (run.state, run.xcoms, sandbox.rings.total()) == ("success", {}, 1)


def test_a_field_may_be_a_function(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What a function returns is taken as it is: data that looks like a template is not rendered."""
    odd = {"customer_phone": NUMBER, "note": "{{ run_id }}"}
    run = run_task(an_operator(parameters=lambda context, jinja_env: odd), channel)  # noqa: ARG005
    assert run.state == "success", run.log_text
    assert sandbox.requests[0].body["parameters"][1]["value"] == "{{ run_id }}"


def test_every_field_is_a_template(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """All fields take values from the context, and what renders to text is understood."""
    with make_dag(user_defined_macros={"me": "formant_default", "in_a_day": "2099-01-01"}) as dag:
        operator = an_operator(
            agent_id="{{ 400 + 56 }}",
            parameters={"customer_phone": "{{ '+1415' ~ '5550100' }}", "day": "{{ ds }}"},
            scheduled_for="{{ macros.datetime.now(macros.dateutil.tz.UTC) + macros.timedelta(days=1) }}",
            conversation_id=None,
            idempotency_key="loan-{{ run_id }}",
            metadata={"run": "{{ run_id }}"},
            retry_context={"retry_language": "{{ 'en' ~ '-US' }}"},
            reference="{{ 'LN-' ~ 1 }}",
            formant_conn_id="{{ me }}",
            region="{{ 'in' }}",
            calling_window=CallingWindow("{{ '00:00' }}", "{{ '24:00' }}"),
            suppress=["{{ '+1415' ~ '5550199' }}"],
            dry_run="{{ 'fal' ~ 'se' }}",
        )
    assert set(operator.template_fields) == {
        "agent_id", "parameters", "scheduled_for", "conversation_id", "idempotency_key",
        "metadata", "retry_context", "reference", "formant_conn_id", "region", "calling_window", "call_cap",
        "suppress", "dry_run",
    }  # fmt: skip
    assert dag.dag_id == operator.dag_id
    run = run_task(operator, channel)
    assert run.state == "success", run.log_text
    body = sandbox.requests[0].body
    assert body["agent_id"] == 456
    assert body["parameters"][1] == {"name": "day", "value": "2026-01-01"}
    assert body["scheduled_for"].endswith("Z")
    assert json.loads(body["metadata"]) == {"run": "r1"}
    assert body["retry_context"] == {"retry_language": "en-US"}


def test_a_conversation_chain_can_be_joined(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """conversation_id renders and is sent as it is."""
    first = run_task(an_operator(scheduled_for=pendulum.now("UTC").add(days=1)), channel)
    chain = first.xcoms["conversation_id"]
    run = run_task(an_operator(conversation_id=f"{{{{ '{chain}' }}}}", idempotency_key="again"), channel)
    assert run.state == "success", run.log_text
    assert sandbox.requests[-1].body["conversation_id"] == chain


@pytest.mark.parametrize(
    ("kwargs_list", "how"),
    [
        ([{"parameters": person} for person in PEOPLE], "expand_kwargs"),
        (PEOPLE, "expand"),
    ],
)
def test_mapped_calls_ring_each_person_once(
    kwargs_list: list[Any], how: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Under dynamic task mapping every entry is one call with a key and a receipt of its own."""
    with make_dag():
        partial = FormantCreateCallOperator.partial(task_id="call", agent_id=456)
        mapped = (
            partial.expand(parameters=kwargs_list) if how == "expand" else partial.expand_kwargs(kwargs_list)
        )
    today = datetime.now(UTC)
    runs = [run_task(mapped, channel, map_index=index, logical_date=today) for index in range(3)]
    assert [run.state for run in runs] == ["success"] * 3
    assert sandbox.rings == {person["customer_phone"]: 1 for person in PEOPLE}
    assert len(set(keys_sent(sandbox))) == 3
    assert len({run.xcoms["trace_id"] for run in runs}) == 3


def test_a_reordered_list_does_not_move_a_person_s_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The key follows the person and not the position, so a second try in another order rings nobody."""
    for people in (PEOPLE, PEOPLE[::-1]):
        with make_dag():
            mapped = FormantCreateCallOperator.partial(task_id="call", agent_id=456).expand(parameters=people)
        for index in range(3):
            run_task(mapped, channel, map_index=index)
    assert sandbox.rings == {person["customer_phone"]: 1 for person in PEOPLE}


def test_every_try_sends_the_same_key(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The key is deterministic and always sent; a retry of the task sends the one of the first try."""
    sandbox.inject(CREATE_CALL, Fault.ERROR_500_BEFORE, times=4)
    today = datetime.now(UTC)
    first = run_task(an_operator(), channel, logical_date=today)
    second = run_task(an_operator(), channel, try_number=2, logical_date=today)
    assert (first.state, second.state) == ("up_for_retry", "success")
    assert len(keys_sent(sandbox)) == 5
    assert len(set(keys_sent(sandbox))) == 1
    assert sandbox.rings == {NUMBER: 1}


def test_a_retry_after_a_lost_answer_does_not_ring_again(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The vendor refuses the key of the first try; the retry looks for the call and hands on its ids."""
    sandbox.inject(CREATE_CALL, Fault.ERROR_503_AFTER)
    sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=3)
    today = datetime.now(UTC)
    first = run_task(an_operator(), channel, logical_date=today)
    assert first.state == "up_for_retry"
    assert "A call may have been placed." in first.log_text
    sandbox.advance(600)
    second = run_task(an_operator(), channel, try_number=2, logical_date=today)
    assert (second.state, sandbox.rings) == ("success", {NUMBER: 1})
    (call,) = sandbox.calls
    assert second.xcoms["return_value"]["placement"] == "found"
    assert (second.xcoms["trace_id"], second.xcoms["conversation_id"]) == (
        call.trace_id,
        call.conversation_id,
    )


@pytest.mark.parametrize(
    ("choice", "state"), [("succeed", "success"), ("fail", "failed"), ("skip", "skipped")]
)
def test_what_an_unconfirmed_call_does_to_its_task_is_the_user_s_choice(
    choice: Any, state: str, sandbox: Sandbox, channel: FakeSupervisor, sleeps: list[float]
) -> None:
    """A call whose key was used and whose record is not there yet: no ring, no ids, and the log says so."""
    sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    run = run_task(an_operator(on_unconfirmed=choice, lookup_timeout=timedelta(seconds=20)), channel)
    assert (run.state, sandbox.rings) == (state, {NUMBER: 1})
    assert "Unconfirmed: " in run.log_text
    assert 20 <= sum(sleeps) < 25
    if choice == "succeed":
        assert run.xcoms["return_value"]["placement"] == "unconfirmed"
        assert run.xcoms["trace_id"] == ""


def test_another_run_is_another_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A new DAG run is a new intent."""
    for run_id in ("monday", "tuesday"):
        assert run_task(an_operator(), channel, run_id=run_id).state == "success"
    assert sandbox.rings == {NUMBER: 2}


def test_a_name_of_the_user_s_makes_one_call_of_many_runs(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """With an idempotency_key of one's own, the same name is the same call, in whatever run."""
    states = [
        run_task(an_operator(idempotency_key="loan-7"), channel, run_id=run_id).state
        for run_id in ("monday", "tuesday")
    ]
    assert states == ["success", "success"]
    assert sandbox.rings == {NUMBER: 1}


@pytest.mark.parametrize(
    ("fields", "key", "said"),
    [
        ({"agent_id": 999}, KEY, "404 not_found"),
        ({"conversation_id": "nobody"}, KEY, "404 not_found"),
        ({}, "wrong-key", "401 authentication_error: invalid or missing api key"),
    ],
)
def test_401_and_404_fail_at_once(fields: dict[str, Any], key: str, said: str, sandbox: Sandbox) -> None:
    """An unknown agent and a refused key fail the task without Airflow retries, in the vendor's words."""
    connection = {"conn_type": "formant", "host": sandbox.base_url, "password": key}
    run = run_task(an_operator(**fields), FakeSupervisor({"formant_default": connection}))
    assert (run.state, len(sandbox.requests)) == ("failed", 1)
    assert said in str(run.error)
    assert "No call was placed" in str(run.error)


def test_400_fails_at_once() -> None:
    """What the vendor calls invalid fails the task without Airflow retries, in the vendor's words."""
    refusal = Answer(400, {"error": {"message": "calling hours are over", "type": "invalid_request"}})
    with ScriptedServer(refusal) as server:
        channel = FakeSupervisor(
            {"formant_default": f"formant://{server.base_url.replace('://', '://:key-1@')}"}
        )
        run = run_task(an_operator(), channel)
    assert run.state == "failed"
    assert "400 invalid_request: calling hours are over" in str(run.error)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault.ERROR_500_BEFORE,
        Fault.ERROR_503_BEFORE,
        Fault.DROP_BEFORE,
        Fault.RATE_LIMIT,
        Fault.CONCURRENCY_LIMIT,
    ],
)
def test_what_may_pass_is_repeated_in_process_and_then_left_to_airflow(
    fault: Fault, sandbox: Sandbox, channel: FakeSupervisor, sleeps: list[float]
) -> None:
    """429, 5xx and lost connections: the same key four times, then a failure that Airflow retries."""
    sandbox.inject(CREATE_CALL, fault, times=4)
    run = run_task(an_operator(), channel)
    assert run.state == "up_for_retry"
    assert len(sandbox.requests) == 4
    assert len(sleeps) == 3
    assert sum(sleeps) < 60
    assert sandbox.rings == {}


NOW = pendulum.now("UTC")
BAD_INPUT = [
    ("agent_id", {"agent_id": "four"}),
    ("agent_id", {"agent_id": 4.5}),
    ("agent_id", {"agent_id": True}),
    ("agent_id", {"agent_id": ""}),
    ("parameters", {"parameters": "text-of-secrets"}),
    ("parameters", {"parameters": {"customer_name": "Rahul"}}),
    ("parameters.due", {"parameters": {"customer_phone": NUMBER, "due": None}}),
    ("parameters.due", {"parameters": {"customer_phone": NUMBER, "due": {"a": "nested-secret"}}}),
    ("parameters.due", {"parameters": {"customer_phone": NUMBER, "due": ["nested-secret"]}}),
    ("parameters.customer_phone", {"parameters": [{"name": "customer_phone", "value": NUMBER}] * 2}),
    ("parameters.customer_phone", {"parameters": {"customer_phone": "4155550100"}}),
    ("parameters.customer_phone", {"parameters": {"customer_phone": "+1 415 555 0100"}}),
    ("parameters.customer_phone", {"parameters": {"customer_phone": "+14155"}}),
    ("scheduled_for", {"scheduled_for": "2099-01-01T00:00:00"}),
    ("scheduled_for", {"scheduled_for": datetime(2099, 1, 1)}),
    ("scheduled_for", {"scheduled_for": NOW.subtract(seconds=5)}),
    ("scheduled_for", {"scheduled_for": NOW.add(days=31)}),
    ("scheduled_for", {"scheduled_for": "tomorrow-at-nine"}),
    ("metadata", {"metadata": 7}),
    ("metadata", {"metadata": {"x": timedelta(days=77)}}),
    ("retry_context", {"retry_context": "text-of-secrets"}),
    ("retry_context.stage", {"retry_context": {"stage": "text-of-secrets"}}),
    ("conversation_id", {"conversation_id": "{{ none }}"}),
    ("idempotency_key", {"idempotency_key": "  "}),
    ("region", {"region": "mars"}),
]


@pytest.mark.parametrize(("field", "fields"), BAD_INPUT)
def test_bad_input_is_refused_before_anything_is_sent(
    field: str, fields: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Every bad input fails the task at once, names its field and not its value, and sends nothing."""
    operator = an_operator()
    vars(operator).update(fields)  # as a template or the output of a task would: what is literal fails before
    run = run_task(operator, channel)
    assert run.state == "failed"
    assert str(run.error).startswith(f"{field}: ")
    assert "No call was placed" in str(run.error)
    assert sandbox.requests == []
    for value in ("four", "secret", "415555", "tomorrow-at-nine", "2099", "mars", "Rahul"):
        assert value not in str(run.error)


def test_an_undefined_variable_sends_nothing(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A template that cannot be rendered fails before anything is sent."""
    run = run_task(an_operator(parameters={"customer_phone": "{{ no.such.thing }}"}), channel)
    assert run.state in {"failed", "up_for_retry"}
    assert sandbox.requests == []


def test_native_rendering_that_ate_the_plus_sign_is_refused(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """With render_template_as_native_obj a number becomes an integer; that is refused, not guessed at."""
    with make_dag(render_template_as_native_obj=True):
        operator = an_operator(parameters={"customer_phone": "{{ '+14155550100' }}"})
    run = run_task(operator, channel)
    assert str(run.error).startswith("parameters.customer_phone: ")
    assert sandbox.requests == []


def test_a_number_outside_the_known_ranges_only_warns(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A possible number that the library's ranges do not know is called, with a warning in the log."""
    run = run_task(an_operator(parameters={"customer_phone": "+11005550100"}), channel)
    assert (run.state, sandbox.rings) == ("success", {"+11005550100": 1})
    assert "lies in no range known" in run.log_text

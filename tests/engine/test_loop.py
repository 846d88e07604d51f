"""Calls in a loop, which came with Airflow 3.4, in the real engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path

import pytest
from engine.matrix import LOOPED

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH, CALL
from support.engine import DagResult, run_dag_source
from support.engine_runs import Cleared
from support.versions import needs_loops

pytestmark = [pytest.mark.engine, needs_loops]

DAG = """
from airflow.sdk import DAG, task, task_group
from formant_provider.operators.batch import FormantCreateBatchCallOperator as BatchCall
from formant_provider.operators.call import FormantCreateCallOperator as Call
from formant_provider.operators.transcription import FormantTranscribeOperator as Transcribe

PEOPLE = [{"customer_phone": "+14155550100"}, {"customer_phone": "+14155550110"}]

with DAG("NAME", schedule=None):
    @task_group
    def once_more():
        OPERATOR

    @task
    def collect(ti):
        results = ti.xcom_pull(task_ids="once_more.call")
        return [[result["KEY"], result["placement"]] for result in results]

    loop = once_more.loop(max_iterations=3)
    AFTER
"""
ONE = 'Call(task_id="call", agent_id=456, parameters=PEOPLE[0], retries=1, OPTIONS)'
QUICK = "lookup_timeout=0.5"
MAPPED = f'Call.partial(task_id="call", agent_id=456, retries=1, {QUICK}).expand(parameters=PEOPLE)'
BATCH_CALL = 'BatchCall(task_id="call", agent_id=456, contacts=PEOPLE, name="dues", retries=1)'
TRANSCRIPTION = (
    'Transcribe(task_id="call", audio="AUDIO", output_uri="AUDIO.{{ loop.index }}", poll_interval=0.2)'
)
WAITS = "wait_for_completion=True, poll_interval=0.2, deferrable="
EXAMPLE = Path(__file__).parents[2] / "dags_examples" / "formant_until_reached.py"
Run = Callable[..., DagResult]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(call_speed=10_000, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path) -> Run:
    def run(operator: str, *, key: str | None = None, on: Cleared | None = None) -> DagResult:
        # The engine gets lost where a task of a DAG that it knows turns into a mapped one.
        name = "looped_list" if operator == MAPPED else "looped"
        words = {"NAME": name, "OPERATOR": operator, "KEY": key, "AFTER": "loop >> collect()" if key else ""}
        source = reduce(lambda text, word: text.replace(word, str(words[word])), words, DAG)
        env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
        result = run_dag_source(source, tmp_path, name, env=env, on=on)
        assert result.state == "success", result.masked_log_text
        return result

    return run


@pytest.mark.parametrize("lost", [False, True], ids=["untroubled", "first answer lost"])
@pytest.mark.parametrize("options", ["", f"{WAITS}False", f"{WAITS}True"], ids=["sends", "waits", "defers"])
def test_in_a_loop_every_iteration_is_a_call_of_its_own(
    options: str, lost: bool, sandbox: Sandbox, run: Run
) -> None:
    """Three iterations ring three times, and each hands on the ids of its own call."""
    if lost:
        sandbox.inject(CALL, Fault.DROP_AFTER)
    result = run(ONE.replace("OPTIONS", options), key="trace_id")
    assert sandbox.rings == {"+14155550100": 3}
    traces, placements = zip(*result["collect"].xcoms["return_value"], strict=True)
    assert list(traces) == [call.trace_id for call in sandbox.calls]
    first = LOOPED.key_kept.placement if lost else ("placed",)
    assert placements == (*first, "placed", "placed")
    posts = sum(request.method == "POST" for request in sandbox.requests)
    assert posts == 2 + (LOOPED.key_kept.posts if lost else 1)


def test_in_a_loop_everybody_of_a_mapped_list_is_called_in_every_iteration(
    sandbox: Sandbox, run: Run
) -> None:
    """Three iterations over a list ring everybody three times, also where an answer was lost."""
    sandbox.inject(CALL, Fault.DROP_AFTER)
    run(MAPPED)
    assert sandbox.rings == {"+14155550100": 3, "+14155550110": 3}


def test_in_a_loop_every_iteration_is_a_batch_call_of_its_own(sandbox: Sandbox, run: Run) -> None:
    """All answers are lost: three batch calls are uploaded, and each iteration finds its own."""
    sandbox.inject(BATCH, Fault.DROP_AFTER, times=3)
    result = run(BATCH_CALL, key="batch_id")
    sandbox.advance(60)
    assert sandbox.rings == {"+14155550100": 3, "+14155550110": 3}
    ids, placements = zip(*result["collect"].xcoms["return_value"], strict=True)
    assert len(set(ids)) == 3
    assert placements == ("found",) * 3


@pytest.mark.parametrize(
    ("number", "rings"),
    [
        ("+14155550170", {"+14155550170": 1}),
        ("+14155550101", {"+14155550101": 3}),
        ("+141555501{{ '70' if loop.index else '02' }}", {"+14155550102": 1, "+14155550170": 1}),
    ],
    ids=["at once", "never", "at the second attempt"],
)
def test_the_example_stops_when_the_person_is_reached(
    number: str, rings: dict[str, int], tmp_path: Path
) -> None:
    """It calls three times at most; whether somebody was reached or not, the run is a success."""
    source = EXAMPLE.read_text().replace("+14155550170", number).replace("hours=2", "seconds=0.5")
    with Sandbox(call_speed=500_000, rate_limit=None) as sandbox:
        env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
        result = run_dag_source(source, tmp_path, EXAMPLE.stem, env=env)
    assert result.state == "success", result.masked_log_text
    assert sandbox.rings == rings


def test_the_example_calls_nobody_anew_when_a_clear_hides_how_the_calls_ended(tmp_path: Path) -> None:
    """Of two calls to one person nobody knows which is which: no attempt is made that was not made before."""
    quick = (
        ("hours=2", "seconds=0.5"),
        ("deferrable=True", "deferrable=True, lookup_timeout=0.5, timeout=3"),
    )
    source = reduce(lambda text, pair: text.replace(*pair), quick, EXAMPLE.read_text()).replace(
        "0170", "0101"
    )
    stops_earlier = source.replace("loop.index + 1 == ATTEMPTS", "loop.index + 1 == 2")
    with Sandbox(call_speed=500_000, rate_limit=None) as sandbox:
        env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
        first = run_dag_source(stops_earlier, tmp_path, EXAMPLE.stem, env=env)
        assert sandbox.rings == {"+14155550101": 2}
        tasks = [f"attempt.{task}" for task in ("choose_time", "pause", "call", "is_over")]
        again = run_dag_source(source, tmp_path, EXAMPLE.stem, env=env, on=Cleared(first.run_id, tasks))
    assert again.state == "success", again.masked_log_text
    assert sandbox.rings == {"+14155550101": 2}


def test_a_name_of_the_user_s_is_one_call_in_all_iterations(sandbox: Sandbox, run: Run) -> None:
    """Unless the iteration is in it: the name says what is the same call."""
    run(ONE.replace("OPTIONS", f'idempotency_key="LN-1", {QUICK}'))
    assert sandbox.rings == {"+14155550100": 1}
    run(ONE.replace("OPTIONS", f'idempotency_key="LN-2 attempt {{{{ loop.index }}}}", {QUICK}'))
    assert sandbox.rings == {"+14155550100": 4}


@pytest.mark.parametrize("gate", [False, True], ids=["the calls", "the loop's gate"])
@pytest.mark.parametrize("operator", [ONE.replace("OPTIONS", QUICK), MAPPED], ids=["one", "mapped"])
def test_a_clear_in_a_loop_rings_nobody_again(operator: str, gate: bool, sandbox: Sandbox, run: Run) -> None:
    """Airflow drops the state of cleared calls, and replaces what follows a gate by first tries."""
    first = run(operator)
    rings = dict(sandbox.rings)
    run(operator, on=Cleared(first.run_id, ["once_more.call", *["once_more.__loop_gate"] * gate]))
    assert sandbox.rings == rings
    assert set(rings.values()) == {3}


def test_a_clear_of_a_gate_that_airflow_does_not_count_rings_nobody_again(sandbox: Sandbox, run: Run) -> None:
    """After a limit the key of a call is used: by an iteration that was replaced, and not by a refusal."""
    operator = ONE.replace("OPTIONS", QUICK)
    first = run(operator)
    sandbox.inject(CALL, Fault.RATE_LIMIT)
    run(operator, on=Cleared(first.run_id, ["once_more.__loop_gate"], counts=False))
    assert sandbox.rings == {"+14155550100": 3}


def test_a_clear_of_a_loop_s_gate_submits_no_audio_again(sandbox: Sandbox, run: Run, tmp_path: Path) -> None:
    """Each iteration is a job of its own; one that replaces another goes on with that one's."""
    audio = tmp_path / "said.wav"
    audio.write_bytes(b"RIFF")
    operator = TRANSCRIPTION.replace("AUDIO", str(audio))
    first = run(operator)
    assert len(sandbox.transcriptions) == 3
    run(operator, on=Cleared(first.run_id, ["once_more.call", "once_more.__loop_gate"]))
    assert len(sandbox.transcriptions) == 3

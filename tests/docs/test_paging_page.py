"""The page on paging says what the code does: events, limits; and its DAGs call whom they say."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from formant_provider.notifications import call, event
from formant_provider.notifications.call import FormantCallNotifier
from formant_provider.sandbox import Sandbox
from support.pages import DOCS, code, table

PAGE = (DOCS / "paging.md").read_text()
PROSE = " ".join(PAGE.split())
DAGS = {
    name: block
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for name in re.findall(r'dag_id="(\w+)"', block)
}


def test_every_field_of_an_event_is_documented() -> None:
    """The table names each field, and every kind there is."""
    rows = {code(name)[0]: text for name, text in table("notifier.md", "## Event")}
    assert list(rows) == ["event", *(f"event.{field.name}" for field in fields(event.Event))]
    assert code(rows["event.kind"]) == [*event._BY_STATE.values(), "deadline"]
    sample = event.Event("failed", "nightly_load", "manual__2026-04-08", "load")
    assert code(rows["event"])[0] == str(sample)


def test_the_limits_are_those_of_the_code() -> None:
    """The prose quotes the numbers of the code, and they add up."""
    assert "at most three requests are sent" in PROSE
    assert call.MAX_SENDS == 3
    assert f"no request begins later than {call.NO_SEND_AFTER_S:g} seconds after the first" in PROSE
    assert f"waits at most {call.LONGEST_TIMEOUT_S:g} seconds for a connection" in PROSE
    longest = call.NO_SEND_AFTER_S + 2 * call.LONGEST_TIMEOUT_S
    assert f"{longest:g} seconds in all" in PROSE
    assert f"{longest:g} seconds" in " ".join((FormantCallNotifier.__doc__ or "").split())


@pytest.mark.engine
@pytest.mark.parametrize(
    ("dag_id", "state", "rings"),
    [
        ("nightly_load", "failed", {"+14155550160": 1}),
        ("load_or_wake_somebody", "failed", {"+14155550101": 1, "+14155550160": 1}),
    ],
)
def test_every_dag_shown_rings_as_it_says(
    dag_id: str, state: str, rings: dict[str, int], tmp_path: Path
) -> None:
    """A DAG copied from the page ends as it should, and rings whom it names, each once."""
    from support.engine import run_dag_source

    # dag.test() of Airflow 3.3 cannot end a successful run that has a deadline; see tests/engine for one.
    assert set(DAGS) == {"nightly_load", "punctual", "load_or_wake_somebody"}
    with Sandbox(rate_limit=None, speed=500_000) as sandbox:
        env = {
            "AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri(),
            "AIRFLOW_VAR_ON_CALL_PHONE": "+14155550160",
        }
        result = run_dag_source(DAGS[dag_id], tmp_path, dag_id, env=env)
    assert (result.state, sandbox.rings) == (state, rings), result.masked_log_text[-3000:]

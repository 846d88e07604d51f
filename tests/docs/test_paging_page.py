"""The DAGs of the page on paging call as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from formant_provider.notifications import call
from formant_provider.sandbox import Sandbox
from support.pages import DOCS

PAGE = (DOCS / "paging.md").read_text()
DAGS = {
    name: block
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for name in re.findall(r'dag_id="(\w+)"', block)
}


def test_the_notifier_says_how_long_it_takes() -> None:
    """The docstring quotes the limit that its sends add up to."""
    longest = call.NO_SEND_AFTER_S + 2 * call.LONGEST_TIMEOUT_S
    assert f"{longest:g} seconds" in " ".join((call.FormantCallNotifier.__doc__ or "").split())


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

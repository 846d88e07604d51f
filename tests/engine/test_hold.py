"""An Airflow Variable that holds a list, in a real Airflow: what its server says of one that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.engine import run_dag_source

pytestmark = pytest.mark.engine

DAG_FILE = """
    from airflow.sdk import DAG, Variable, task

    from formant_provider.tasks.call_lists.hold import Hold

    with DAG("held", schedule=None):

        @task
        def look():
            clock = iter(range(100, 10_000, 10))
            hold = Hold(variable="stop_calls", clock=lambda: next(clock))
            seen = [hold.is_on()]
            for word in ("on", "off", "true"):
                Variable.set("stop_calls", word)
                seen.append(hold.is_on())
            Variable.delete("stop_calls")
            return [*seen, hold.is_on()]

        look()
"""


def test_a_variable_holds_while_it_is_on_and_not_when_it_is_missing(tmp_path: Path) -> None:
    """A variable that nobody has made, or that somebody has deleted, is no answer that is missing."""
    result = run_dag_source(DAG_FILE, tmp_path, "held")
    assert result["look"].xcoms["return_value"] == [False, True, False, True, False]

"""DAGs that are written in YAML, which came with Airflow 3.4, in the real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import DagResult, run_dag_file
from support.versions import needs_yaml_dags

pytestmark = [pytest.mark.engine, needs_yaml_dags]

EXAMPLE = Path(__file__).parents[2] / "dags_examples" / "formant_call_list.yaml"
IMPORTERS = json.dumps([{"classpath": "airflow.sdk.importers.yaml_importer.YamlDagImporter"}])
HEAD = """
$schema: https://airflow.apache.org/schemas/dag/2026-10-30.json
dag_id: by_yaml
schedule: null
params: {who: Asha}
tasks:
  - id: call
    uses: formant_provider.operators.call.FormantCreateCallOperator
    retries: 1
    with:
"""
ONE = """
      agent_id: 456
      parameters:
        customer_phone: "+14155550110"
        due_on: 2026-12-01
        due_amount: 29000
        note: "{{ params.who }}"
      calling_window: {start: "00:00", end: "24:00", timezone: {US: America/New_York}}
      max_lateness: 4d
      redial_on: [no_answer]
      wait_for_completion: true
      poll_interval: 1s
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(call_speed=500_000, rate_limit=None) as sandbox:
        yield sandbox


def run(path: Path, dag_id: str, sandbox: Sandbox, **conf: str) -> DagResult:
    env = {
        "AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri(),
        "AIRFLOW__DAG_PROCESSOR__DAG_IMPORTER_CONFIGS": IMPORTERS,
    }
    return run_dag_file(path, dag_id, env=env, run_conf=conf)


def written(folder: Path, fields: str) -> Path:
    path = folder / "by_yaml.yaml"
    path.write_text(HEAD.lstrip() + fields.lstrip("\n"))
    return path


def test_a_call_of_a_yaml_file_rings_once(tmp_path: Path, sandbox: Sandbox) -> None:
    """Hours are a mapping, spans text, lists lists; what is not marked as a template is said as it stands."""
    result = run(written(tmp_path, ONE), "by_yaml", sandbox)
    assert result.state == "success", result.log_text
    assert sandbox.rings == {"+14155550110": 1}
    (sent,) = (seen.body for seen in sandbox.requests if seen.method == "POST")
    told = {item["name"]: item["value"] for item in sent["parameters"]}
    assert (told["note"], told["due_on"], told["due_amount"]) == ("{{ params.who }}", "2026-12-01", "29000")
    # At debug level Airflow logs its own traffic, orders to mask something among it.
    lines = [line for line in result.masked_log_text.splitlines() if not line.startswith("debug ")]
    assert "4155550110" not in "".join(lines)
    assert "4155550110" not in f"{result['call'].rendered_fields} {result['call'].xcoms}"


def test_what_is_marked_as_a_template_is_rendered(tmp_path: Path, sandbox: Sandbox) -> None:
    """Also beside a literal in the same field, and within the hours."""
    fields = ONE.replace('"{{ params.who }}"', '{$t: "{{ params.who }}"}').replace(
        'start: "00:00"', "start: {$t: \"{{ '00' }}:00\"}"
    )
    result = run(written(tmp_path, fields), "by_yaml", sandbox)
    assert result.state == "success", result.log_text
    (sent,) = (seen.body for seen in sandbox.requests if seen.method == "POST")
    assert {"name": "note", "value": "Asha"} in sent["parameters"]
    assert "4155550110" not in f"{result['call'].rendered_fields}"


@pytest.mark.parametrize(
    ("given", "instead", "told"),
    [
        ('"+14155550110"', "+14155550110", "parameters.customer_phone"),
        ('end: "24:00"', "end: 20:00", "calling_window.end"),
        ("{start:", "{begin:", "calling_window: must be CallingWindow or a mapping of start, end"),
    ],
)
def test_what_yaml_reads_otherwise_is_refused_when_it_is_parsed(
    given: str, instead: str, told: str, tmp_path: Path, sandbox: Sandbox
) -> None:
    """A number or a time without quotes is a number to YAML: the field is named, and nobody is called."""
    with pytest.raises(ImportError, match=told):
        run(written(tmp_path, ONE.replace(given, instead)), "by_yaml", sandbox)
    assert sandbox.requests == []


def test_the_example_calls_everybody_of_its_file(tmp_path: Path, sandbox: Sandbox) -> None:
    """Hours, attempts and an end to stop at are plain values; each is called once."""
    (tmp_path / "due.csv").write_text(
        dedent("""\
            customer_phone,reference,due_amount
            +14155550180,L-1,29000
            +14155550181,L-2,1250
            """)
    )
    source = (
        EXAMPLE.read_text().replace('"20:00"', '"24:00"').replace("poll_interval: 1m", "poll_interval: 1s")
    )
    (tmp_path / EXAMPLE.name).write_text(source)
    conf = {"folder": str(tmp_path), "opens": "00:00"}
    result = run(tmp_path / EXAMPLE.name, "formant_yaml", sandbox, **conf)
    assert result.state == "success", result.log_text
    assert sandbox.rings == {"+14155550180": 1, "+14155550181": 1}
    assert result["call_list"].xcoms["return_value"]["reached"] == 2
    assert (tmp_path / "called.csv").read_text().count(",completed,") == 2

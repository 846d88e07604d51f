"""The DAGs of ``bench_list.py``, one in each file, and the people that they call."""

from __future__ import annotations

import csv
from pathlib import Path

IDLE_S = 8

DAGS = {
    "idle": """
from airflow.sdk import DAG, task

@task(task_id="task")
def idle(seconds):
    import time
    time.sleep(seconds)

with DAG("warm", schedule=None):
    idle.expand(seconds=[{idle_s}] * 4)  # one for each worker, which imports much with its first task

with DAG("idle", schedule=None):
    idle({idle_s})
""",
    "list": """
from airflow.sdk import DAG
from formant_provider.operators.call_list import FormantCallListOperator

with DAG("list", schedule=None):
    FormantCallListOperator(
        task_id="task", calls={people!r}, agent_id=456, reference="bench",
        results_uri={people!r} + ".results.csv", summary_uri={people!r} + ".html",
    )
""",
    "mapped": """
from airflow.sdk import DAG
from formant_provider.operators.call import FormantCreateCallOperator

with DAG("mapped", schedule=None):
    FormantCreateCallOperator.partial(task_id="task", agent_id=456).expand(
        parameters=[{{"customer_phone": phone, "name": "n"}} for phone in {phones!r}]
    )
""",
    "waiting": """
from airflow.sdk import DAG
from formant_provider.operators.call import FormantCreateCallOperator

with DAG("waiting", schedule=None):
    FormantCreateCallOperator.partial(
        task_id="task", agent_id=456, wait_for_completion=True, deferrable=True
    ).expand(parameters=[{{"customer_phone": phone, "name": "n"}} for phone in {phones!r}])
""",
    "http": """
import json

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG

CALLS = [
    json.dumps({{"agent_id": 456, "parameters": [{{"name": "customer_phone", "value": phone}}]}})
    for phone in {phones!r}
]
HEADERS = {{
    "Authorization": "Bearer {{{{ conn.formant_http.password }}}}",
    "Content-Type": "application/json",
}}

with DAG("http", schedule=None):
    HttpOperator.partial(
        task_id="task", http_conn_id="formant_http", endpoint="/v1/call", headers=HEADERS
    ).expand(data=CALLS)
""",
}


def write(home: Path, *, calls: int, tasks: int) -> None:
    """Write the DAGs, and the list for so many calls."""
    people, dags = home / "people.csv", home / "dags"
    dags.mkdir()
    with people.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_phone", "name", "amount"])
        writer.writerows([phone, f"n{at}", at] for at, phone in enumerate(phones(20000, calls)))
    for name, text in DAGS.items():
        dag = text.format(people=str(people), phones=phones(30000, tasks), idle_s=IDLE_S)
        (dags / f"{name}.py").write_text(dag)


def phones(first: int, count: int) -> list[str]:
    """Return numbers of which the sandbox reaches everyone: the last two digits say so."""
    return [f"+1415{first + at // 90:05}{10 + at % 90}" for at in range(count)]

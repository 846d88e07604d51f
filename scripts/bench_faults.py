"""Counts rings and lost calls of several ways to place a call from a DAG, under the same faults of the API.

Every recipe runs as a DAG of one task with ``retries=2`` in a real Airflow, against the sandbox. A call is
lost when a phone rang for it and the task neither pushes its trace_id nor says that it may have been placed.

Needs no key and no network. Leaves nothing behind. The exit code is 0 when our operator rang once in every
row, lost nothing and ended in success.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columns import in_columns, ruled

if TYPE_CHECKING:
    from formant_provider.sandbox import Sandbox

RIVAL = "apache-airflow-providers-http"
PHONE, NO_RECORD = "+14155550111", "+14155550108"
READ_TIMEOUT_S = 1
LONGEST_PAUSE_S = 0.02

DAGS = f"""
import json
from datetime import timedelta

import requests
from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG, BaseHook, task

from formant_provider.operators.call import FormantCreateCallOperator

TRIES = {{"retries": 2, "retry_delay": timedelta(0)}}
BODY = {{"agent_id": 456, "parameters": [{{"name": "customer_phone", "value": "{PHONE}"}}]}}

for dag_id, deferrable in [("http", False), ("http_deferrable", True)]:
    with DAG(dag_id, schedule=None):
        HttpOperator(
            task_id="call",
            http_conn_id="formant_http",
            endpoint="/v1/call",
            headers={{
                "Authorization": "Bearer {{{{ conn.formant_http.password }}}}",
                "Content-Type": "application/json",
            }},
            data=json.dumps(BODY),
            extra_options={{"timeout": {READ_TIMEOUT_S}}},
            deferrable=deferrable,
            **TRIES,
        )

for dag_id, keyed in [("requests", False), ("requests_key", True)]:
    with DAG(dag_id, schedule=None):

        @task(**TRIES)
        def call(keyed, run_id):
            conn = BaseHook.get_connection("formant_http")
            answer = requests.post(
                conn.host + "/v1/call",
                json=BODY | ({{"idempotency_key": run_id}} if keyed else {{}}),
                headers={{"Authorization": "Bearer " + conn.password}},
                timeout={READ_TIMEOUT_S},
            )
            answer.raise_for_status()
            return answer.json()["data"]

        call(keyed)

for dag_id, phone in [("formant", "{PHONE}"), ("formant_no_record", "{NO_RECORD}")]:
    with DAG(dag_id, schedule=None):
        FormantCreateCallOperator(
            task_id="call", agent_id=456, parameters={{"customer_phone": phone}}, **TRIES
        )
"""

RECIPES = {
    "http": "HttpOperator",
    "http_deferrable": "deferrable",
    "requests": "@task",
    "requests_key": "@task + key",
    "formant": "ours",
    "formant_no_record": "ours, no record",
}
OURS = ("formant", "formant_no_record")


@dataclass(frozen=True)
class Trouble:
    """A row of the table: a fault of the sandbox; or ``None``, and the API is down during the first try."""

    text: str
    fault: str | None
    times: int = 1
    seconds: float | None = None
    retry_after: int | None = None


TROUBLES = {
    "none": Trouble("nothing goes wrong", fault="", times=0),
    "503_before": Trouble("503, not accepted", "error_503_before"),
    "503_after": Trouble("503, accepted", "error_503_after"),
    "503_after_x3": Trouble("503, accepted, three times", "error_503_after", times=3),
    "drop_after": Trouble("connection dropped, accepted", "drop_after"),
    "hang_after": Trouble("read timeout, accepted", "hang_after", seconds=READ_TIMEOUT_S + 2),
    "garbage": Trouble("200 cut off, accepted", "garbage"),
    "rate_limit": Trouble("429, Retry-After: 2", "rate_limit", retry_after=2),
    "concurrency": Trouble("429, too many calls at once", "concurrency_limit"),
    "down": Trouble("API down for the first try", None),
}


@dataclass(frozen=True)
class Outcome:
    """What came of one recipe under one fault.

    :param lost: placed calls of which the task neither knows the id nor says that they may exist.
    """

    rings: int
    lost: int
    state: str
    unconfirmed: bool

    @property
    def good(self) -> bool:
        """Whether one phone rang once, and nobody has to wonder."""
        return self.rings == 1 and not self.lost and self.state == "success"

    def __str__(self) -> str:
        remarks = [" failed"] * (self.state != "success") + [" unconfirmed"] * self.unconfirmed
        return f"{self.rings}/{self.lost}{''.join(remarks)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every recipe under every fault that was asked for, and print the table."""
    options = _options(arguments)
    try:
        version(RIVAL)
    except PackageNotFoundError:
        print(f"{RIVAL} is missing: there is nothing to compare with. To install it:", file=sys.stderr)
        print("  python -m pip install 'airflow-provider-formant[bench]'", file=sys.stderr)
        return 2
    troubles = {name: TROUBLES[name] for name in options.faults}
    print(f"Running {len(RECIPES)} recipes under {len(troubles)} faults in Airflow ...\n", flush=True)
    outcomes = run_all(troubles)
    print(f"Rings/lost calls, by fault and recipe:\n\n{table(troubles, outcomes)}\n")
    return 0 if all(outcomes[name, recipe].good for name in troubles for recipe in OURS) else 1


def run_all(troubles: Mapping[str, Trouble]) -> dict[tuple[str, str], Outcome]:
    """Run every recipe under every fault; the calls are over, and on record, at once."""
    from formant_provider.sandbox import Sandbox

    with (
        tempfile.TemporaryDirectory(prefix="formant-bench-") as home,
        Sandbox(call_speed=3600, rate_limit=None) as sandbox,
    ):
        prepare_airflow(Path(home), sandbox)
        log_file = Path(home, "bench.log")
        with log_file.open("w") as log, redirect_stdout(log), short_pauses():
            bench = Bench(sandbox, Path(home), log_file)
            outcomes = {
                (name, recipe): bench.run(recipe, trouble)
                for name, trouble in troubles.items()
                for recipe in RECIPES
            }
            logging.shutdown()
    return outcomes


def prepare_airflow(home: Path, sandbox: Sandbox) -> None:
    """Point Airflow at a home of its own. Must come before anything imports Airflow."""
    ours = json.loads(sandbox.connection_json()) | {"extra": {"read_timeout": READ_TIMEOUT_S}}
    theirs = {"conn_type": "http", "host": sandbox.base_url, "password": sandbox.api_key}
    (home / "dags").mkdir()
    (home / "dags" / "bench.py").write_text(DAGS)
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_FORMANT_DEFAULT": json.dumps(ours),
        "AIRFLOW_CONN_FORMANT_HTTP": json.dumps(theirs),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    }


@contextmanager
def short_pauses() -> Iterator[None]:
    """Cut every pause of this process short: nobody waits for a server that is not really busy."""
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, LONGEST_PAUSE_S))
    try:
        yield
    finally:
        time.sleep = sleep


class Bench:
    """An Airflow with all recipes, in this process."""

    def __init__(self, sandbox: Sandbox, home: Path, log_file: Path) -> None:
        from airflow.dag_processing.dagbag import DagBag
        from airflow.sdk.listener import get_listener_manager
        from airflow.utils.db import initdb

        initdb()
        self.sandbox = sandbox
        self.log_file = log_file
        self.dags = DagBag(str(home / "dags")).dags
        get_listener_manager().add_listener(on_failed_try(self.come_up))

    def come_up(self) -> None:
        """Let the API listen, unless it does."""
        with suppress(RuntimeError):
            self.sandbox.start()

    def run(self, recipe: str, trouble: Trouble) -> Outcome:
        """Run one recipe under one fault."""
        self.sandbox.reset()
        if trouble.fault is None:
            self.sandbox.stop()
        elif trouble.fault:
            options = {"seconds": trouble.seconds, "retry_after": trouble.retry_after}
            self.sandbox.inject("POST /v1/call", trouble.fault, times=trouble.times, **options)
        logged = self.log_file.stat().st_size
        dag_run = self.dags[recipe].test()
        self.come_up()
        sys.stdout.flush()
        with self.log_file.open() as log:
            log.seek(logged)
            return self.outcome(dag_run, said="A call may have been placed" in log.read())

    def outcome(self, dag_run: Any, *, said: bool) -> Outcome:
        """Compare what the sandbox placed with what the task handed on."""
        result = dag_run.get_task_instance("call").xcom_pull(task_ids="call")
        unconfirmed = isinstance(result, dict) and result.get("placement") == "unconfirmed"
        unknown = [call for call in self.sandbox.calls if call.trace_id not in str(result)]
        lost = 0 if unconfirmed or said else len(unknown)
        return Outcome(len(self.sandbox.calls), lost, str(dag_run.state), unconfirmed)


def on_failed_try(then: Callable[[], None]) -> object:
    """Return a listener that Airflow tells when a try has failed."""
    from airflow.listeners import hookimpl

    class Listener:
        @hookimpl
        def on_task_instance_failed(self) -> None:
            then()

    return Listener()


def table(troubles: Mapping[str, Trouble], outcomes: Mapping[tuple[str, str], Outcome]) -> str:
    """Write one row for each fault, one column for each recipe, and the sums below."""
    columns = [[outcomes[name, recipe] for name in troubles] for recipe in RECIPES]
    sums = [f"{sum(each.rings for each in column)}/{sum(each.lost for each in column)}" for column in columns]
    rows = [
        ("", *RECIPES.values()),
        *zip((trouble.text for trouble in troubles.values()), *columns, strict=True),
        ("all", *sums),
    ]
    return in_columns(ruled([[str(cell) for cell in row] for row in rows]))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = ", ".join(TROUBLES)
    help_text = f"only these, separated by commas; of {names}"
    parser.add_argument("--faults", type=lambda text: text.split(","), default=list(TROUBLES), help=help_text)
    options = parser.parse_args(arguments)
    if not set(options.faults) <= set(TROUBLES):
        parser.error(f"there are {names}")
    return options


if __name__ == "__main__":
    raise SystemExit(main())

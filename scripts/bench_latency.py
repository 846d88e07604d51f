"""Measures how soon a downstream task starts after a call is over: by webhooks, and by polling.

In one `airflow standalone`, two DAGs place the same calls at the same moments and wait for them in the
triggerer, each at a FormantAI of its own: both are the sandbox in this process. One sends webhooks to a
receiver, over a call store. Beside them a third DAG waits for nothing but a moment, which is Airflow's own
share: from an event of a trigger to the start of the task after it.

Needs no key and no network. Leaves nothing behind. The exit code is 0 when the median by webhooks is at most
a quarter of that by polling.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from columns import in_columns

if TYPE_CHECKING:
    from formant_provider.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
HEARD, ASKED, ALONE = "heard", "asked", "alone"
NAMES = {ASKED: "by polling", HEARD: "by webhooks", ALONE: "Airflow alone"}
AGENT = 456
CALL_SPEED = 20  # a call of 142 s is over after 7
POLL_INTERVAL_S = 30  # the default
MOST_OF_POLLING = 0.25
SECRET = "the-secret-of-the-target"  # noqa: S105 - of a receiver that lives for two minutes
LIST, DETAIL = "GET /v1/conversations", "GET /v1/conversations/{conversation_id}"

DAGS = f"""
from datetime import timedelta

from airflow.sdk import DAG, BaseOperator, task
from bench_trigger import At

from formant_provider.operators.call import FormantCreateCallOperator


# Of Airflow itself, where the machine is busy.
AGAIN = {{"retries": 2, "retry_delay": timedelta(0)}}


class Until(BaseOperator):
    def execute(self, context):
        self.defer(trigger=At(context["dag_run"].conf["at"]), method_name="resume")

    def resume(self, context, event):
        return None


@task
def after():
    return None


for dag_id in {[HEARD, ASKED]}:
    with DAG(dag_id, schedule=None, default_args=AGAIN):
        call = FormantCreateCallOperator(
            task_id="call",
            agent_id={AGENT},
            parameters={{"customer_phone": "{{{{ dag_run.conf.phone }}}}"}},
            formant_conn_id="formant_" + dag_id,
            wait_for_completion=True,
            deferrable=True,
            poll_interval={POLL_INTERVAL_S},
        )
        call >> after()

with DAG("{ALONE}", schedule=None, default_args=AGAIN):
    Until(task_id="call") >> after()
"""
TRIGGER = '''
import asyncio
import time

from airflow.triggers.base import BaseTrigger, TriggerEvent


class At(BaseTrigger):
    """Fires at a moment, in seconds since 1970."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def serialize(self):
        return "bench_trigger.At", {"at": self.at}

    async def run(self):
        await asyncio.sleep(self.at - time.time())
        yield TriggerEvent(None)
'''


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=8, help="on each side, default %(default)s")
    count = parser.parse_args(arguments).calls
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    print(
        f"Waiting for {count} calls on each side, in one Airflow; this takes five minutes ...\n", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="formant-bench-") as folder, ExitStack() as stack:
        sandboxes = {side: stack.enter_context(_sandbox()) for side in (HEARD, ASKED)}
        airflow = stack.enter_context(_airflow(Path(folder), sandboxes, stack))
        runs = _start_runs(airflow, count)
        seconds = {side: [_seconds(airflow, side, *run) for run in runs[side]] for side in runs}
        _check_webhooks(sandboxes[HEARD], count)
        print(in_columns([HEAD, *(row(side, seconds[side], sandboxes.get(side)) for side in NAMES)]))
    heard, asked, alone = (statistics.median(seconds[side]) for side in (HEARD, ASKED, ALONE))
    ratio = heard / asked
    print(f"\nWebhooks take {ratio:.0%} of the time of polling; {MOST_OF_POLLING:.0%} at most is promised.")
    print(f"Less Airflow's own share it is {heard - alone:.1f} s instead of {asked - alone:.1f} s.")
    return 0 if ratio <= MOST_OF_POLLING else 1


# What runs


def _sandbox() -> Sandbox:
    from formant_provider.sandbox import Sandbox

    return Sandbox(call_speed=CALL_SPEED, rate_limit=None)


@contextmanager
def _airflow(home: Path, sandboxes: dict[str, Sandbox], stack: ExitStack) -> Iterator[Any]:
    """Start Airflow, with a receiver beside it."""
    from support.standalone import Standalone, local

    dags, plugins, port = home / "dags", home / "plugins", local.free_port()
    for path, text in ((dags / "bench.py", DAGS), (plugins / "bench_trigger.py", TRIGGER)):
        path.parent.mkdir()
        path.write_text(text)
    airflow = Standalone(dags, home, _connections(home, sandboxes))
    command = [sys.executable, "-m", "formant_provider.webhooks", "--conn-id", f"formant_{HEARD}"]
    log = home / "receiver.log"
    leaders = [local.start([*command, "--port", str(port)], log, airflow.env)]
    stack.callback(local.stop, leaders)
    url = f"http://127.0.0.1:{port}"
    local.wait_until(lambda: requests.get(f"{url}/healthz", timeout=5).ok, leaders[0], log)
    sandboxes[HEARD].add_webhook(f"{url}/webhooks/formant_{HEARD}", secret=SECRET)
    with airflow:
        yield airflow


def _connections(home: Path, sandboxes: dict[str, Sandbox]) -> dict[str, str]:
    """Return a connection of each side, with a call store of its own, so that placing costs the same."""
    from formant_provider.store.secrets import new_secret

    found = {}
    for side, sandbox in sandboxes.items():
        store = {"store_conn_id": f"store_{side}", "store_secret": new_secret(), "store_auto_upgrade": True}
        extra = {**store, **({"webhook_secret": SECRET} if side == HEARD else {})}
        fields = {**json.loads(sandbox.connection_json()), "extra": extra}
        found[f"AIRFLOW_CONN_FORMANT_{side.upper()}"] = json.dumps(fields)
        database = {"conn_type": "sqlite", "host": str(home / f"{side}.db")}
        found[f"AIRFLOW_CONN_STORE_{side.upper()}"] = json.dumps(database)
    return found


# What is measured


def _start_runs(airflow: Any, count: int) -> dict[str, list[tuple[str, float | None]]]:
    """Start the runs of all sides at the same moments, each at another phase of the polls.

    Each begins a little less than an interval after the one before, so that they hardly wait for each other.
    """
    runs: dict[str, list[tuple[str, float | None]]] = {side: [] for side in NAMES}
    for side in (HEARD, ASKED):  # what is imported and made once is no part of it
        airflow.wait_for_run(side, airflow.trigger(side, {"phone": "+14155550120"}), timeout_s=180)
    for number in range(count):
        began = time.monotonic()
        for side in (HEARD, ASKED):
            runs[side].append((airflow.trigger(side, {"phone": f"+14155550{130 + number}"}), None))
        at = time.time() + 10
        runs[ALONE].append((airflow.trigger(ALONE, {"at": at}), at))
        time.sleep(max(0.0, began + POLL_INTERVAL_S * (1 - 1 / count) - time.monotonic()))
    for side, started in runs.items():
        for run_id, _ in started:
            state = airflow.wait_for_run(side, run_id, timeout_s=180)
            if state != "success":
                raise RuntimeError(airflow.task_log(side, run_id, "call"))
    return runs


def _seconds(airflow: Any, side: str, run_id: str, at: float | None) -> float:
    """Return how long after the end of what was waited for the next task has started."""
    if at is None:
        ended_at = datetime.fromisoformat(airflow.xcom(side, run_id, "call")["ended_at"])
    else:
        ended_at = datetime.fromtimestamp(at, UTC)
    started_at = datetime.fromisoformat(airflow.task(side, run_id, "after")["start_date"])
    return (started_at - ended_at) / timedelta(seconds=1)


def _check_webhooks(sandbox: Sandbox, count: int) -> None:
    stored = [sent for sent in sandbox.deliveries if sent.status == 200]
    if len(stored) < count:
        raise RuntimeError(f"the receiver has stored too few events: {sandbox.deliveries}")


HEAD = ("", "median", "shortest", "longest", "list GETs", "detail GETs")


def row(side: str, seconds: Sequence[float], sandbox: Sandbox | None) -> tuple[str, ...]:
    """Return one line of the table."""
    shown: list[Callable[[Sequence[float]], float]] = [statistics.median, min, max]
    asked = [request.endpoint for request in sandbox.requests] if sandbox else []
    counts = [str(asked.count(endpoint)) if sandbox else "" for endpoint in (LIST, DETAIL)]
    return (NAMES[side], *(f"{each(seconds):.1f} s" for each in shown), *counts)


if __name__ == "__main__":
    raise SystemExit(main())

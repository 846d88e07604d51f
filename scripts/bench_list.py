"""Measures what a call of a call list costs, beside mapped tasks with one call each: CPU, memory, requests.

In one `airflow standalone`, one after the other: an idle task; one `FormantCallListOperator` that calls
everybody of a CSV file, waits for the ends, and writes results and a summary; mapped tasks of
`FormantCreateCallOperator`, with and without a wait for the end; and mapped tasks of `HttpOperator`. The API
is the sandbox in this process, with a rate limit. CPU is that of the processes that run tasks, as the system
counts it; and beside it that of all of Airflow, less what it takes while nothing runs.

Needs no key and no network. Leaves nothing behind. The exit code is 0 when everybody was reached by one call,
and all bounds are kept. Whether the rate limit was used up shows in whole minutes, so only in long lists.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_use import ALL, Peaks, cpu_by_part
from bench_list_dags import write
from columns import in_columns, ruled

if TYPE_CHECKING:
    from formant_provider.sandbox import Sandbox
    from formant_provider.sandbox.request_log import SeenRequest
    from support.standalone import Standalone

ROOT = Path(__file__).parents[1]
RIVAL = "apache-airflow-providers-http"
WINDOW = timedelta(minutes=1)
POST, LIST, DETAIL = "POST /v1/call", "GET /v1/conversations", "GET /v1/conversations/{conversation_id}"
LEAST_OF_LIMIT, LEAST_RATIO, MOST_MB, MOST_POSTS = 0.95, 100, 64, 1.02
REST_S = 30
FINISHED = ("success", "failed")

NAMES = {
    "list": "call list",
    "mapped": "mapped FormantCreateCallOperator",
    "waiting": "the same, which waits for the end",
    "http": "mapped HttpOperator",
}


@dataclass(frozen=True)
class Phase:
    """What one DAG took.

    :param cpu: seconds by part of Airflow; ``tasks`` are the processes of tasks and those above them.
    :param peaks_mb: of the processes of its tasks: the most memory that one of them had, as RSS and as PSS.
    """

    state: str
    seconds: float
    cpu: Counter[str]  # of floats
    peaks_mb: dict[str, float]
    requests: list[SeenRequest]
    rings: Counter[str]

    @property
    def whole(self) -> float:
        """The CPU seconds of all of Airflow."""
        return sum(self.cpu[part] for part in ALL)

    def beyond(self, rest: Phase) -> Phase:
        """Return the same, less what Airflow takes while nothing runs."""
        used = {part: s - rest.cpu[part] * self.seconds / rest.seconds for part, s in self.cpu.items()}
        return replace(self, cpu=Counter({**used, "tasks": self.cpu["tasks"]}))

    def count(self, endpoint: str) -> int:
        """Return how many requests there were."""
        return sum(request.endpoint == endpoint for request in self.requests)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all and print it; 0 when all bounds are kept."""
    options = _options(arguments)
    try:
        version(RIVAL)
    except PackageNotFoundError:
        print(f"{RIVAL} is missing: install airflow-provider-formant[bench].", file=sys.stderr)
        return 2
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    print(
        f"A list of {options.calls:,} calls, and {options.tasks} mapped tasks of each kind, with"
        f" {options.rate:,} requests a minute. A list of 10,000 takes about ten minutes ...",
        flush=True,
    )
    with bench(options) as run:
        run("warm")
        idle, rest = run("idle"), run(None)
        phases = {name: run(name).beyond(rest) for name in NAMES}
    print(f"\n{in_columns(ruled(rows(phases, options)))}\n")
    return report(idle, phases, options)


@contextmanager
def bench(options: argparse.Namespace) -> Iterator[Callable[[str], Phase]]:
    """Start the sandbox and Airflow; yield what runs a DAG and measures it."""
    from formant_provider.sandbox import Sandbox
    from support.standalone import Standalone

    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="formant-bench-")))
        sandbox = stack.enter_context(
            Sandbox(call_speed=200, rate_limit=options.rate, trace_id_in_list=options.trace_ids)
        )
        env = connections(sandbox, options.store, home, stack)
        write(home, calls=options.calls, tasks=options.tasks)
        airflow = stack.enter_context(Standalone(home / "dags", home, env))
        yield lambda name: run_phase(airflow, sandbox, name)


def connections(sandbox: Sandbox, store: str | None, home: Path, stack: ExitStack) -> dict[str, str]:
    """Return Airflow's connections to the sandbox, and to a call store if there is to be one."""
    from support.databases import postgres_database, sqlite_database
    from support.stores import connections_with

    found: dict[str, Any] = {"formant_default": json.loads(sandbox.connection_json())}
    if store:
        opened = postgres_database() if store == "postgresql" else sqlite_database(home)
        found = connections_with(stack.enter_context(opened), sandbox)
    found["formant_http"] = {"conn_type": "http", "host": sandbox.base_url, "password": sandbox.api_key}
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in found.items()}


def run_phase(airflow: Standalone, sandbox: Sandbox, name: str | None) -> Phase:
    """Run one DAG to its end; ``None`` runs nothing, for a while."""
    sandbox.reset()
    run_id = airflow.trigger(name) if name else None
    leader = airflow.leaders[0].pid
    before, began, peaks = cpu_by_part(leader), time.monotonic(), Peaks(leader)
    with peaks:
        while (state := _state(airflow, name, run_id)) not in FINISHED:
            time.sleep(1)
            if name is None and time.monotonic() - began > REST_S:
                break
    cpu, seconds = cpu_by_part(leader), time.monotonic() - began
    cpu.subtract(before)
    print(f"{NAMES.get(str(name), name)}: {state} after {seconds:.0f} s", flush=True)
    return Phase(state, seconds, cpu, peaks.mb, sandbox.requests, Counter(sandbox.rings))


def _state(airflow: Standalone, name: str | None, run_id: str | None) -> str:
    """Return the state of a run; where there is none, ask as much of Airflow."""
    if name is None:
        airflow.api("GET", "/dags/list/dagRuns")
        return "at rest"
    return str(airflow.api("GET", f"/dags/{name}/dagRuns/{run_id}")["state"])


def rows(phases: dict[str, Phase], options: argparse.Namespace) -> list[tuple[str, ...]]:
    """Return the table."""
    head = ("", "calls", "seconds", "CPU of tasks", "a call", "", "of all of Airflow", "a call", "")
    table: list[tuple[str, ...]] = [head]
    for name, phase in phases.items():
        calls = options.calls if name == "list" else options.tasks
        cells = [NAMES[name], f"{calls:,}", f"{phase.seconds:.0f}"]
        for seconds, times in zip(
            (phase.cpu["tasks"], phase.whole), ratios(phases, name, options), strict=True
        ):
            cells += [f"{seconds:.1f} s", f"{1000 * seconds / calls:.1f} ms", f"x {times:.0f}"]
        table.append(tuple(cells))
    return table


def ratios(phases: dict[str, Phase], name: str, options: argparse.Namespace) -> tuple[float, float]:
    """Return how many times the CPU of a call of the list a call takes: that of tasks, and of all."""
    listed, phase = phases["list"], phases[name]
    times = 1.0 if name == "list" else options.calls / options.tasks
    return phase.cpu["tasks"] / listed.cpu["tasks"] * times, phase.whole / listed.whole * times


def report(idle: Phase, phases: dict[str, Phase], options: argparse.Namespace) -> int:
    """Print what was counted; 0 when all bounds are kept."""
    listed = phases["list"]
    used = part_used(listed.requests, options.rate)
    above = {kind: listed.peaks_mb[kind] - idle.peaks_mb[kind] for kind in listed.peaks_mb}
    posts = listed.count(POST) / options.calls
    print("Of the rate limit, while somebody was to be called: ", end="")
    print("too short to tell" if used is None else f"{used[0]:.3f} by calls, {used[1]:.3f} by all requests")
    in_words = ", ".join(
        f"{mb:.0f} MB {kind} (idle: {idle.peaks_mb[kind]:.0f})" for kind, mb in above.items()
    )
    print(f"Memory above an idle task at its peak: {in_words}")
    statuses = Counter(request.status for request in listed.requests)
    print(
        f"Requests: {posts:.3f} POSTs a call, {listed.count(LIST)} lists, {listed.count(DETAIL)} details;"
        f" by status {dict(statuses)}"
    )
    kept = {
        "every DAG succeeds": all(phase.state == "success" for phase in [idle, *phases.values()]),
        "everybody is called once": list(listed.rings.values()) == [1] * options.calls,
        "of the rate limit": used is None or used[0] >= LEAST_OF_LIMIT,
        "CPU": all(min(ratios(phases, name, options)) >= LEAST_RATIO for name in phases if name != "list"),
        "memory": max(above.values()) < MOST_MB,
        "POSTs": posts <= MOST_POSTS,
    }
    broken = [name for name, is_kept in kept.items() if not is_kept]
    print(f"\nNOT kept: {', '.join(broken)}." if broken else "\nAll bounds are kept.")
    return 1 if broken else 0


def part_used(requests: Sequence[SeenRequest], limit: int) -> tuple[float, float] | None:
    """Return which part of what the limit allowed was used, by calls and in all, until the last calls.

    Counted are the windows before that of the last call, with the time between them; ``None`` without any.
    """
    windows: list[tuple[Any, list[SeenRequest]]] = []
    for request in sorted(requests, key=lambda each: each.at):
        if not windows or request.at >= windows[-1][0] + WINDOW:
            windows.append((request.at, []))
        windows[-1][1].append(request)
    sending = [at for at, (_, some) in enumerate(windows) if any(each.endpoint == POST for each in some)]
    whole = windows[: sending[-1]] if sending else []
    if not whole:
        return None
    answered = [each for _, some in whole for each in some if each.status == 200]
    allowed = limit * ((windows[len(whole)][0] - whole[0][0]) / WINDOW)
    return sum(each.endpoint == POST for each in answered) / allowed, len(answered) / allowed


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--calls", type=int, default=10_000, help="calls of the list, default %(default)s")
    add("--tasks", type=int, default=40, help="mapped tasks of each kind, default %(default)s")
    add("--rate", type=int, default=3000, help="requests a minute that the API allows, default %(default)s")
    add("--store", choices=["sqlite", "postgresql"], help="with a call store; default without")
    add("--trace-ids", action="store_true", help="the list of conversations tells trace ids")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

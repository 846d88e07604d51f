"""Works off a million calls in a hundred lists, and says what a call costs: requests, CPU, memory, writes.

Each list is a task with `FormantCallListOperator` in a process of its own, as in a worker of Airflow: it
reads a file, calls everybody by the real client over HTTP, waits for the ends, and writes results. What a
worker asks of Airflow is answered by a stand-in, which keeps the entries of the task state store in files
and counts them; with ``--store`` each list has a call store in SQLite. The API is the sandbox, in another
process; in it calls end 200 times as soon, and all clocks are real. Each list has a sandbox of its own, which
at the end still knows all calls: every person is counted. Nobody may be called twice, or not at all, and no
result may be missing.

Needs no key and no network. Leaves nothing behind. A million calls take hours of two cores; ``--lists=10``
is a tenth of that. The exit code is 0 when nothing was wrong.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columns import in_columns

if TYPE_CHECKING:
    from support.list_stress import World

ROOT = Path(__file__).parents[1]
MOST_ROWS = 80_000
POST, DETAIL, LIST = "POST /v1/call", "GET /v1/conversations/{conversation_id}", "GET /v1/conversations"
# As a poll a minute would be, if calls lasted as long as people talk.
POLL_INTERVAL_S = 0.3
# A list that a busy machine keeps from its work is deferred for minutes, as where nothing happens.
PATIENCE_S = 3600.0


@dataclass
class Worked:
    """What one list took.

    :param requests: by endpoint, as the sandbox has seen them.
    :param before_mb: memory of the worker when it began; ``peak_mb``: the most it had.
    :param writes: how often Airflow was asked to write an entry, and ``written_bytes``, how much in all.
    :param store_bytes: how large the database of its call store is; 0 without one.
    :param entries: how many entries there are at the end, and ``entry_bytes``, how long they are.
    """

    area: str
    calls: int
    seconds: float
    cpu_s: float
    before_mb: float
    peak_mb: float
    requests: dict[str, int]
    writes: int
    written_bytes: int
    entries: int
    entry_bytes: int
    store_bytes: int
    wrong: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Work off all lists and print what they took; 0 when nothing was wrong."""
    options = _options(arguments)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from support.airflow_home import use_own_airflow_home

    use_own_airflow_home()
    began, worked = time.monotonic(), []
    lists = [(area, options) for area in islice(area_codes(), options.lists)]
    # A process for each list: what one has left behind is in no other one's figures.
    context = multiprocessing.get_context("fork")
    with context.Pool(options.at_once, maxtasksperchild=1) as pool:
        for each in pool.imap_unordered(_work_off, lists, chunksize=1):
            worked.append(each)
            print(_line(worked, time.monotonic() - began), flush=True)
    print(f"\n{in_columns(rows(worked))}\n")
    wrong = [sentence for each in worked for sentence in each.wrong]
    for sentence in wrong[:20]:
        print(f"WRONG: {sentence[:400]}")
    everybody = sum(each.calls for each in worked)
    print(f"{everybody:,} people in {len(worked)} lists; {len(wrong)} things wrong.")
    return 1 if wrong or everybody != options.lists * options.calls else 0


def area_codes() -> Iterator[str]:
    """Yield area codes of the United States in which all people of a list can be called."""
    import phonenumbers

    for area in map(str, count(201)):
        ends = (people(area, 1)[0], f"+1{area}{20_000 + MOST_ROWS - 1}10")
        if all(phonenumbers.is_valid_number(phonenumbers.parse(number)) for number in ends):
            yield area


def people(area: str, many: int) -> list[str]:
    """Return the numbers of so many people of an area; all of them answer."""
    return [f"+1{area}{20_000 + at}10" for at in range(many)]


def _work_off(given: tuple[str, argparse.Namespace]) -> Worked:
    """Work off one list, in this process and the ones that it forks."""
    from formant_provider.sandbox import Sandbox
    from support.databases import sqlite_database
    from support.list_stress import World
    from support.stores import connections_with

    area, options = given
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="formant-scale-")))
        chosen = {"rate_limit": 60_000, "call_speed": 200, "trace_id_in_list": options.trace_ids}
        sandbox = stack.enter_context(Sandbox(**chosen))
        connections = None
        if options.store:
            connections = connections_with(stack.enter_context(sqlite_database(folder)), sandbox)
        fields = {"poll_interval": POLL_INTERVAL_S}
        world = World(sandbox, folder, people(area, options.calls), fields, connections)
        world.calls = str(_write_list(world))
        world.task.patience_s = PATIENCE_S
        return _figures(world, area)


def _write_list(world: World) -> Path:
    path = world.folder / "people.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_phone", "name"])
        writer.writerows((number, "Asha") for number in world.numbers)
    return path


def _figures(world: World, area: str) -> Worked:
    log = world.folder / "writes"
    log.touch()

    def count_writes(supervisor: Any) -> None:
        supervisor.after_write = lambda key: _note(log, (supervisor.folder / f"{key}.json").stat().st_size)

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = world.run(watches_memory=True, timeout_s=36_000, attempt={"prepare": count_writes})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wrong = world.wrong()
    if run.came is None or run.came.state != "success":
        wrong.append(f"the task ended as {run.came}")
    sizes = [int(line) for line in log.read_text().split()]
    entries = [path.stat().st_size for path in (world.folder / world.name).glob("*.json")]
    memory = run.memory_mb
    return Worked(
        area,
        len(world.sandbox.calls),
        run.seconds,
        after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
        memory[0],
        max(memory),
        dict(Counter(seen.endpoint for seen in world.sandbox.requests)),
        len(sizes),
        sum(sizes),
        len(entries),
        sum(entries),
        sum(path.stat().st_size for path in world.folder.glob("calls.db*")),
        wrong,
    )


def _note(log: Path, size: int) -> None:
    with log.open("a") as file:
        file.write(f"{size}\n")


def _line(worked: Sequence[Worked], seconds: float) -> str:
    last, calls = worked[-1], sum(each.calls for each in worked)
    return (
        f"{timedelta(seconds=round(seconds))}: {len(worked)} lists, {calls:,} calls; the last one in"
        f" {last.seconds:.0f} s, {1000 * last.cpu_s / last.calls:.1f} ms CPU a call,"
        f" {last.peak_mb - last.before_mb:.0f} MB above {last.before_mb:.0f}; {len(last.wrong)} things wrong"
    )


def rows(worked: Sequence[Worked]) -> list[tuple[str, ...]]:
    """Return the table of what a call took."""
    calls, endpoints = sum(each.calls for each in worked), Counter[str]()
    for each in worked:
        endpoints.update(each.requests)

    def a_call(name: str) -> str:
        return f"{sum(getattr(each, name) for each in worked) / calls:.3f}"

    grown = [each.peak_mb - each.before_mb for each in worked]
    cpu_ms = 1000 * sum(each.cpu_s for each in worked) / calls
    told = [(f"{name}, a call", f"{number / calls:.3f}") for name, number in endpoints.most_common()]
    return [
        ("requests, a call", f"{endpoints.total() / calls:.3f}"),
        *told,
        ("CPU of the worker, a call", f"{cpu_ms:.1f} ms"),
        ("memory of a worker above its start, at most", f"{max(grown):.0f} MB"),
        ("writes to the task state store, a call", a_call("writes")),
        ("bytes written to it, a call", a_call("written_bytes")),
        ("its entries at the end, a call", a_call("entries")),
        ("bytes in them, a call", a_call("entry_bytes")),
        ("bytes in the call store, a call", a_call("store_bytes")),
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--lists", type=int, default=100, help="how many lists, default %(default)s")
    add("--calls", type=int, default=10_000, help="people in each, default %(default)s")
    add("--at-once", type=int, default=2, help="lists that are worked off at once, default %(default)s")
    add("--store", action="store_true", help="with a call store in SQLite")
    add("--trace-ids", action="store_true", help="the list of conversations tells trace ids")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

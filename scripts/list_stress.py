"""Call lists whose workers are killed, over an API and a database that fail; then all calls are counted.

Runs, one after the other:

- ``state``, ``sqlite``, ``postgres``: a worker that is killed at 50 random moments, by where the list is
  written down;
- ``outage``: the API is gone for a while, again and again;
- ``storm``: others use up the rate limit, and answers are 429;
- ``lost``: answers are lost, cut off or errors, some after the call was placed;
- ``changed``: between tries the list is reordered, grown and shrunk, and its agents change;
- ``database``: the database is killed in the middle, and started again after a while;
- ``beside``: workers that were given up go on beside the new ones;
- ``shared``: two lists call the same people, at most once a day each;
- ``large``: 100,000 rows, of which three in ten are bad.

Needs PostgreSQL (Debian: apt-get install postgresql), no key and no network. Leaves nothing behind.
``CALLS=2000 KILLS=50`` are its size, ``OUTAGE_S=60`` how long something is gone, ``SEED`` its moments;
``LARGE=100000 CALLED=10000`` the rows of the last run, and how many of them are called. Arguments name the
runs.
"""

from __future__ import annotations

import csv
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from support.list_stress import Kills, World

ROOT = Path(__file__).parents[1]
CALLS, KILLS = int(os.environ.get("CALLS", "2000")), int(os.environ.get("KILLS", "50"))
OUTAGE_S = float(os.environ.get("OUTAGE_S", "60"))
SEED = int(os.environ.get("SEED", str(random.randrange(2**32))))  # noqa: S311 - no secret
LARGE = int(os.environ.get("LARGE", "100000"))
CALLED = int(os.environ.get("CALLED", "10000"))
AGENTS = (123, 456, 497, 789)
# Of ten people one does not answer and one is busy: they are called twice.
ENDINGS = ("10", "11", "12", "13", "14", "15", "16", "17", "01", "02")
TWICE = {"attempts": 2, "after": ("no_answer", "busy")}


def main() -> int:
    """Run what was asked for; 0 when nothing was wrong."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from support.airflow_home import use_own_airflow_home

    use_own_airflow_home()
    names = sys.argv[1:] or list(RUNS)
    print(f"{CALLS:,} calls, {KILLS} kills, SEED={SEED}", flush=True)
    return 1 if sum([RUNS[name](name) for name in names]) else 0


@contextmanager
def a_world(store: str | None = None, **sandbox: Any) -> Iterator[World]:
    """A list of everybody, who is called twice if they are not reached, and its sandbox."""
    from formant_provider.attempts import Attempts
    from formant_provider.sandbox import Sandbox
    from support.databases import postgres_database, sqlite_database
    from support.list_stress import World, people
    from support.stores import connections_with

    settings = {"rate_limit": None, "call_speed": 200, "record_appears": "start", **sandbox}
    with tempfile.TemporaryDirectory() as text, Sandbox(**settings) as api:
        folder, fields = Path(text), {"attempts": Attempts(2, {"no_answer": 15, "busy": 15})}
        if store is None:
            yield World(api, folder, people(CALLS, ENDINGS), fields)
            return
        with postgres_database() if store == "postgres" else sqlite_database(folder) as database:
            connections = connections_with(database, api)
            world = World(api, folder, people(CALLS, ENDINGS), fields, connections)
            world.database = database
            yield world


def killed(name: str) -> int:
    """Kill a worker again and again."""
    with a_world(None if name == "state" else name) as world:
        return report(name, world, world.run(most=KILLS, random=chance()), world.wrong(**TWICE))


def outage(name: str) -> int:
    """Take the API away, three times."""

    def gone_and_back(world: World) -> None:
        world.sandbox.stop()
        time.sleep(OUTAGE_S)
        world.sandbox.start()

    with a_world() as world, meanwhile(world, gone_and_back, every_s=5, times=3):
        return report(name, world, world.run(most=5, random=chance(), calls=300), world.wrong(**TWICE))


def storm(name: str) -> int:
    """Let others take most of a small limit, and answer 429 in all ways, some of which use up a key."""

    def others(world: World) -> None:
        for _ in range(30):
            with suppress(OSError):
                asked = Request(f"{world.sandbox.base_url}/v1/conversations?limit=1", headers=bearer(world))  # noqa: S310 - on loopback
                urlopen(asked, timeout=5).read()  # noqa: S310 - on loopback
        kinds = ["rate_limit", "rate_limit_no_headers", "rate_limit_reset_only", "concurrency_limit"]
        world.sandbox.inject("POST /v1/call", random.choice(kinds), times=random.randrange(1, 6))  # noqa: S311

    problems = 0
    # A refusal that uses up a key, and is not written down, cannot be told from a call that was placed.
    for uses_key, kills in ((True, 0), (False, 10)):
        limits = {"rate_limit": 100, "rate_window_seconds": 5, "failed_request_uses_key": uses_key}
        with a_world(**limits) as world, meanwhile(world, others, every_s=3, times=15):
            run = world.run(most=kills, random=chance(), calls=100)
            problems += report(f"{name}, keys used: {uses_key}", world, run, world.wrong(**TWICE))
    return problems


def lost(name: str) -> int:
    """Lose answers in all ways."""
    faults = ["error_500_after", "error_503_after", "drop_after", "garbage", "hang_after"]
    faults += ["error_500_before", "error_503_before", "drop_before", "hang_before"]

    def spoil(world: World) -> None:
        fault = random.choice(faults)  # noqa: S311
        for endpoint in ("POST /v1/call", "GET /v1/conversations", "GET /v1/conversations/{conversation_id}"):
            if fault.startswith("hang"):
                world.sandbox.inject(endpoint, fault, seconds=3)
            else:
                world.sandbox.inject(endpoint, fault, times=random.randrange(1, 4))  # noqa: S311

    with a_world() as world, meanwhile(world, spoil, every_s=1.5, times=25):
        return report(name, world, world.run(most=10, random=chance(), calls=100), world.wrong(**TWICE))


def changed(name: str) -> int:
    """Change the list and its agents after each kill; then clear the task with more people."""
    moments = chance()
    with a_world() as world:
        everybody = list(world.numbers)

        def change(_: int) -> None:
            world.numbers[:] = moments.sample(
                everybody, moments.randrange(len(everybody) // 2, len(everybody))
            )
            weights = [moments.random() + 0.01 for _ in AGENTS]
            world.fields |= {"agent_id": None, "agents": dict(zip(AGENTS, weights, strict=True))}

        run = world.run(most=KILLS, random=moments, meanwhile=change)
        wrong = world.wrong(**TWICE)
        world.numbers[:] = [*moments.sample(everybody, len(everybody)), *more_people()]
        again = world.run(attempt={"clear_number": 1})
        run.seconds += again.seconds
        run.came = again.came
        return report(name, world, run, wrong + world.wrong(**TWICE))


def database(name: str) -> int:
    """Kill the database of the store, three times."""

    def gone_and_back(world: World) -> None:
        world.database.server.kill()
        time.sleep(OUTAGE_S / 4)
        world.database.server.start()

    with a_world("postgres") as world, meanwhile(world, gone_and_back, every_s=5, times=3):
        return report(name, world, world.run(most=5, random=chance(), calls=300), world.wrong(**TWICE))


def beside(name: str) -> int:
    """Give up workers that stand still for a while, and go on beside those that took over."""
    problems = 0
    for store in (None, "postgres"):
        with a_world(store) as world:
            run = world.run(most=KILLS // 2, random=chance(), calls=80, revives=True)
            problems += report(f"{name} {store or 'state'}", world, run, world.wrong(**TWICE))
    return problems


def shared(name: str) -> int:
    """Work off two lists at once that share people, of whom each may be called once a day; and stop some."""
    from formant_provider.call_cap import CallCap
    from support.list_stress import World

    with a_world("postgres") as first:
        first.fields = {"call_cap": CallCap(1, "1d")}
        half = len(first.numbers) // 2
        numbers = [*first.numbers[half:], *more_people()]
        chance().shuffle(numbers)
        second = World(first.sandbox, first.folder, numbers, dict(first.fields), first.connections, "other")
        stopped = first.numbers[half : half + 20]
        suppress_in(first, stopped)
        other = threading.Thread(target=lambda: second.run(most=10, random=random.Random(SEED + 1)))  # noqa: S311
        other.start()
        run = first.run(most=10, random=chance())
        other.join()
        return report(name, first, run, wrong_of_shared(first, second, stopped))


def wrong_of_shared(first: World, second: World, stopped: list[str]) -> list[str]:
    """Say who was called more than once or not at all, by two lists."""
    rings, everybody = first.sandbox.rings, {*first.numbers, *second.numbers}
    wrong = [
        f"{number} was called {rings[number]} times"
        for number in everybody - {*stopped}
        if rings[number] != 1
    ]
    wrong += [f"{number} was called, and must not be" for number in stopped if rings[number]]
    for world in (first, second):
        rows = world.rows()
        if [row["customer_phone"] for row in rows] != world.numbers:
            wrong.append(f"{world.name} has {len(rows)} results for {len(world.numbers)} rows")
        for row in rows:
            is_free = row["status"] == "rejected" and row["reason"] not in {"capped", "suppressed"}
            if is_free or row["status"] in {"waiting", "in_progress"}:
                wrong.append(f"{world.name}: {row}")
    return wrong


def suppress_in(world: World, numbers: list[str]) -> None:
    """Put people on the do-not-call list of the store."""
    from formant_provider.store.store import open_up
    from formant_provider.store.suppressions import Decision, add, digests_of
    from support.stores import SECRET

    store, now = open_up(world.database.engine(), "the test", SECRET), datetime.now(UTC)
    digests = digests_of(store, [int(number) for number in numbers])
    add(store, dict.fromkeys(digests), Decision("asked not to be called", "the test", now))


def large(name: str) -> int:
    """Work off 100,000 rows, three in ten of them bad, most others suppressed, and watch the memory."""
    from support.list_stress import people

    with a_world(call_speed=10_000, trace_id_in_list=True) as world:
        good = people(LARGE * 7 // 10)
        left_out = world.folder / "left_out.csv"
        left_out.write_text("\n".join(["customer_phone", *good[CALLED:]]))
        bad = iter(range(LARGE))
        rows = [
            {"customer_phone": good.pop() if at % 10 < 7 else bad_number(next(bad)), "name": "Asha"}
            for at in range(LARGE)
        ]
        world.fields = {"poll_interval": 30, "suppress": str(left_out)}
        world.numbers = [row["customer_phone"] for row in rows]
        path = world.folder / "people.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["customer_phone", "name"])
            writer.writeheader()
            writer.writerows(rows)
        world.calls = str(path)
        run = world.run(watches_memory=True, timeout_s=7200)
        told = world.rows()
        wrong = [f"{len(told)} results"] if [row["customer_phone"] for row in told] != world.numbers else []
        ends = Counter((row["status"], row["reason"]) for row in told)
        print(f"  {dict(ends)}; memory in MB, each tenth of the time: {run.memory()}")
        wrong += [
            f"{number} rang {times} times" for number, times in world.sandbox.rings.items() if times > 1
        ]
        wrong += [f"ended as {end}" for end in ends if end[0] in {"waiting", "in_progress", "unknown"}]
        if ends["completed", ""] != min(CALLED, LARGE * 7 // 10):
            wrong.append(f"{ends['completed', '']} were reached")
        return report(name, world, run, wrong)


def bad_number(at: int) -> str:
    """Return what cannot be called, of several kinds."""
    return ("", "n/a", f"+1415{at:05d}", "+14152000010", f"{at}@example.com")[at % 5]


def more_people() -> list[str]:
    """Return people of no other list."""
    from support.list_stress import people

    return people(CALLS // 10, ENDINGS, first=50_000)


def bearer(world: World) -> dict[str, str]:
    """Return the header with the key of the sandbox."""
    return {"Authorization": f"Bearer {world.sandbox.api_key}"}


@contextmanager
def meanwhile(
    world: World, act: Callable[[World], None], *, every_s: float, times: int = 10**6
) -> Iterator[None]:
    """Do something again and again in the meantime, from the first call on, as long as requests come."""
    is_over = threading.Event()

    def work() -> None:
        while not world.sandbox.calls and not is_over.wait(0.1):
            pass
        seen = 0
        for _ in range(times):
            # What is spoilt waits for requests: while none come, nothing is added.
            while not is_over.wait(every_s) and len(world.sandbox.requests) < seen + 15:
                pass
            if is_over.is_set():
                return
            seen = len(world.sandbox.requests)
            act(world)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def chance() -> random.Random:
    """Return what all moments of a run come from."""
    return random.Random(SEED)  # noqa: S311 - no secret


def report(name: str, world: World, run: Kills, wrong: list[str]) -> int:
    """Print figures; return how much was wrong."""
    came = run.came
    print(
        f"{name}: {len(world.numbers):,} rows in {timedelta(seconds=round(run.seconds))}, {run.kills} kills"
    )
    if came is not None:
        counts = (
            {key: came.result[key] for key in ("reached", "closed", "rejected", "calls")}
            if came.result
            else {}
        )
        print(
            f"  {came.state} {came.error} {counts} in {world.task.tries} tries,"
            f" the last one in {came.wakes} wakes"
        )
    print(f"  {world.figures()}")
    for error, times in run.errors.most_common(5):
        print(f"  {times} x {error}")
    for sentence in wrong[:10]:
        print(f"  WRONG: {sentence[:600]}")
    print(f"  {len(wrong)} things wrong", flush=True)
    return len(wrong) + (came is None or came.state != "success")


RUNS: dict[str, Callable[[str], int]] = {
    "state": killed,
    "sqlite": killed,
    "postgres": killed,
    "outage": outage,
    "storm": storm,
    "lost": lost,
    "changed": changed,
    "database": database,
    "beside": beside,
    "shared": shared,
    "large": large,
}

if __name__ == "__main__":
    sys.exit(main())

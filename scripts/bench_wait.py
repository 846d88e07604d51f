"""Counts what it costs to wait for a thousand calls at once: requests, blocks of the event loop, memory.

Ours are the triggers of `FormantCreateCallOperator(deferrable=True)`, which share one poll. Beside them
stands what people write without it: one trigger for each call, which lists the agent's conversations every
interval until its own is there, as `HttpSensor` does. Both wait in a process of their own for the same calls,
against the sandbox in this one. Then both meet an API that answers 429 to everything, and names a time.

Needs no key and no network. Leaves nothing behind. The exit code is 0 when ours kept to the bound in every
poll: one list request for each hundred conversations, and one detail for each that has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columns import in_columns

if TYPE_CHECKING:
    from formant_provider.sandbox import Sandbox
    from formant_provider.sandbox.request_log import SeenRequest

AGENT, AGENT_OF_NONE = 456, 457
INTERVAL_S = 1.0
SPEED = 60  # a call of 142 s is over after 2.4 s
SPREAD_S = 4.0  # real seconds over which the calls begin
STORM_S, RETRY_AFTER_S = 10, 4
LIST, DETAIL = "GET /v1/conversations", "GET /v1/conversations/{conversation_id}"
SIDES = {"ours": "ours", "each": "one trigger a call"}
# Airflow warns of a triggerer whose event loop was blocked for longer.
AIRFLOW_WARNS_AFTER_S = 0.2


# The process in which is waited: a triggerer, as far as triggers can tell.


def wait_in_this_process(side: str, calls: list[dict[str, str]], seconds: float) -> dict[str, Any]:
    """Wait for all calls; return how it went."""
    return asyncio.run(_wait(side, calls, seconds))


async def _wait(side: str, calls: list[dict[str, str]], seconds: float) -> dict[str, Any]:
    waits_for = _our_waits if side == "ours" else _waits_of_each
    # What is imported and made once is no cost of a waiter. What this one reads is nobody else's.
    await _first(waits_for([{**calls[0], "trace_id": "nobody's"}], seconds, AGENT_OF_NONE))
    waits = waits_for(calls, seconds, AGENT)
    before_kb = _resident_kb()
    tasks = [asyncio.create_task(_told(wait)) for wait in waits]
    await asyncio.sleep(0.5)
    each_kb = (_resident_kb() - before_kb) / len(waits)
    gap_s, told = await _longest_gap_while(asyncio.gather(*tasks))
    return {"told": sum(told), "gap_s": gap_s, "each_kb": each_kb}


async def _first(waits: Sequence[Callable[[], Awaitable[bool]]]) -> None:
    task = asyncio.create_task(_told(waits[0]))
    await asyncio.sleep(0.5)
    task.cancel()


async def _told(wait: Callable[[], Awaitable[bool]]) -> bool:
    return await wait()


async def _longest_gap_while(work: asyncio.Future[list[bool]]) -> tuple[float, list[bool]]:
    longest_s = 0.0
    while not work.done():
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        longest_s = max(longest_s, time.perf_counter() - began - 0.01)
    return longest_s, work.result()


def _our_waits(
    calls: list[dict[str, str]], seconds: float, agent_id: int
) -> list[Callable[[], Awaitable[bool]]]:
    from formant_provider.core.conversations.waiters import Watch
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.triggers.conversation import ConversationTrigger

    recipients = FormantHook().fingerprints(agent_id)
    deadline = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()

    def wait_for(call: dict[str, str]) -> Callable[[], Awaitable[bool]]:
        since = datetime.fromisoformat(call["since"])
        watch = Watch(
            since, call["trace_id"], None, recipients.mark(call["phone"]), poll_interval_s=INTERVAL_S
        )
        trigger = ConversationTrigger("formant_default", None, agent_id, watch.to_json(), deadline, {})

        async def wait() -> bool:
            event = await anext(trigger.run())
            return event.payload["conversation_id"] is not None

        return wait

    return [wait_for(call) for call in calls]


def _waits_of_each(
    calls: list[dict[str, str]], seconds: float, agent_id: int
) -> list[Callable[[], Awaitable[bool]]]:
    import aiohttp

    connection = json.loads(os.environ["AIRFLOW_CONN_FORMANT_DEFAULT"])
    headers = {"Authorization": f"Bearer {connection['password']}"}
    list_url = f"{connection['host']}/v1/conversations"
    deadline = time.monotonic() + seconds

    async def own_record(session: aiohttp.ClientSession, call: dict[str, str]) -> bool:
        for offset in range(0, 100 * math.ceil(len(calls) / 100), 100):
            query = {"agent_id": agent_id, "limit": 100, "offset": offset}
            async with session.get(list_url, params=query) as answer:
                page = await answer.json()
            for item in page.get("data", []):
                if item["contact_number"] == call["phone"] and item["status"] == "completed":
                    async with session.get(f"{list_url}/{item['conversation_id']}") as answer:
                        if (await answer.json())["data"]["trace_id"] == call["trace_id"]:
                            return True
            if not page.get("has_more"):
                return False
        return False

    def wait_for(call: dict[str, str]) -> Callable[[], Awaitable[bool]]:
        async def wait() -> bool:
            async with aiohttp.ClientSession(headers=headers) as session:
                while time.monotonic() < deadline:
                    if await own_record(session, call):
                        return True
                    await asyncio.sleep(INTERVAL_S)
            return False

        return wait

    return [wait_for(call) for call in calls]


def _resident_kb() -> int:
    with Path("/proc/self/statm").open() as numbers:
        return int(numbers.read().split()[1]) * resource.getpagesize() // 1024


# This process: the API, the calls, and the counting.


@dataclass(frozen=True)
class Poll:
    """One look at the list, and what was asked after it.

    :param window: conversations on record when the list was read.
    """

    lists: int
    details: int
    window: int


def run_side(side: str, count: int, home: Path, *, trace_id_in_list: bool) -> tuple[dict[str, Any], Sandbox]:
    """Let calls begin and be waited for; return what the waiting process says, and the API that was asked."""
    from formant_provider.sandbox import Sandbox

    sandbox = Sandbox(speed=SPEED, rate_limit=None, trace_id_in_list=trace_id_in_list)
    with sandbox:
        calls = _place(sandbox, count)
        result = _in_a_process(side, calls, sandbox, home, seconds=30)
    return result, sandbox


def run_storm(side: str, count: int, home: Path) -> list[SeenRequest]:
    """Let everything be answered 429; return the requests."""
    from formant_provider.sandbox import Sandbox

    with Sandbox(rate_limit=None) as sandbox:
        calls = _place(sandbox, count)
        sandbox.inject(LIST, "rate_limit", times=10**9, retry_after=RETRY_AFTER_S)
        _in_a_process(side, calls, sandbox, home, seconds=STORM_S)
        return sandbox.requests


def _place(sandbox: Sandbox, count: int) -> list[dict[str, str]]:
    """Place calls that begin one after the other, from now on."""
    begin = sandbox.now() + timedelta(seconds=SPEED)
    calls = []
    for number in range(count):
        moment = begin + timedelta(seconds=number * SPREAD_S * SPEED / count)
        phone = f"+1415555{number % 9000 + 1000}"
        phone = phone if phone[-2] != "0" else f"{phone[:-2]}1{phone[-1]}"  # endings 00 to 09 are special
        call = sandbox.place(phone, agent_id=AGENT, scheduled_for=moment)
        calls.append({"trace_id": call.trace_id, "phone": phone, "since": sandbox.now().isoformat()})
    return calls


def _in_a_process(
    side: str, calls: list[dict[str, str]], sandbox: Sandbox, home: Path, seconds: float
) -> dict[str, Any]:
    given = home / "calls.json"
    given.write_text(json.dumps(calls))
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_json(),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    command = [sys.executable, __file__, "--wait", side, str(given), str(seconds)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _requests(sandbox: Sandbox) -> list[SeenRequest]:
    """Return what was asked of the agent whose calls are waited for."""
    return [each for each in sandbox.requests if each.query.get("agent_id") != str(AGENT_OF_NONE)]


def polls(sandbox: Sandbox) -> list[Poll]:
    """Take the requests of ours apart into polls: each begins with the first page of the list."""
    found: list[list[SeenRequest]] = []
    for request in _requests(sandbox):
        if request.endpoint == LIST and request.query["offset"] == "0":
            found.append([])
        found[-1].append(request)
    ended = sorted(call.ends_at for call in sandbox.calls)
    return [
        Poll(
            lists=sum(request.endpoint == LIST for request in poll),
            details=sum(request.endpoint == DETAIL for request in poll),
            window=sum(moment <= max(each.at for each in poll if each.endpoint == LIST) for moment in ended),
        )
        for poll in found
    ]


def within_bound(found: Sequence[Poll]) -> bool:
    """Whether no poll listed more pages than there were, and no detail was read twice or in vain."""
    details = accumulate(poll.details for poll in found)
    return all(
        poll.lists <= 1 + math.ceil(poll.window / 100) and read <= 1 + poll.window
        for poll, read in zip(found, details, strict=True)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare both sides; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--calls", type=int, default=1000, help="how many are waited for, default %(default)s"
    )
    parser.add_argument("--no-storm", action="store_true", help="leave the storm of 429s out")
    parser.add_argument("--wait", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.wait:
        side, given, seconds = options.wait
        print(json.dumps(wait_in_this_process(side, json.loads(Path(given).read_text()), float(seconds))))
        return 0
    return compare(options.calls, storm=not options.no_storm)


def compare(count: int, *, storm: bool) -> int:
    """Run everything and print it; 0 when ours kept to the bound and nobody was forgotten."""
    print(
        f"Waiting for {count} calls of one agent, one look a second, in a process of their own ...\n",
        flush=True,
    )
    rows: list[tuple[str, ...]] = []
    good = True
    with tempfile.TemporaryDirectory(prefix="formant-bench-") as home:
        for side, name in SIDES.items():
            for in_list in (False, True) if side == "ours" else (False,):
                result, sandbox = run_side(side, count, Path(home), trace_id_in_list=in_list)
                if side == "ours":
                    good &= result["told"] == count and within_bound(polls(sandbox))
                    good &= result["gap_s"] < AIRFLOW_WARNS_AFTER_S
                rows.append(row(f"{name}{', trace ids in the list' if in_list else ''}", result, sandbox))
        storms = {name: run_storm(side, count, Path(home)) for side, name in SIDES.items() if storm}
    print(in_columns([HEAD, *rows]), "\n")
    for name, requests in storms.items():
        print(f"{STORM_S} s of 429 with Retry-After: {RETRY_AFTER_S}; {name}: {len(requests)} requests")
    ours = [request.at for request in storms.get(SIDES["ours"], [])]
    good &= all((after - before).total_seconds() >= RETRY_AFTER_S for before, after in pairwise(ours))
    print("\nOurs kept to the bound in every poll." if good else "\nOurs did NOT keep to the bound.")
    return 0 if good else 1


HEAD = ("", "told of the end", "list GETs", "detail GETs", "GETs a second", "longest block", "memory a call")


def row(name: str, result: dict[str, Any], sandbox: Sandbox) -> tuple[str, ...]:
    """Return one line of the table."""
    requests = _requests(sandbox)
    lists = sum(request.endpoint == LIST for request in requests)
    # On a machine that stood still all of them may have come at one moment.
    seconds = max((requests[-1].at - requests[0].at).total_seconds() / SPEED, 0.001)
    return (
        name,
        str(result["told"]),
        str(lists),
        str(len(requests) - lists),
        f"{len(requests) / seconds:.0f}",
        f"{1000 * result['gap_s']:.0f} ms",
        f"{result['each_kb']:.1f} KB",
    )


if __name__ == "__main__":
    raise SystemExit(main())

"""Measures how long after the end of a call its waiting task is told: by polls, and by webhooks in a store.

Both wait at once, each in a process of its own, as a triggerer does, for as many calls of one agent, at the
default poll interval. On one side webhooks are put into the store when a call ends, as the receiver does.

Needs no key and no network. Leaves nothing behind. The exit code is 0 when everybody was told, webhooks took
at most a quarter of the time of polls, and no more than two list requests and no detail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formant_provider.sandbox import Sandbox
    from formant_provider.sandbox.calls import Call
    from formant_provider.store.store import Store

AGENT = 456
SPEED = 60  # a call of 142 s is over after 2.4 s
LEAD_S = 25  # to start the processes
LIST = "GET /v1/conversations"
SIDES = ("polls", "webhooks")


def wait_in_this_process(calls: list[dict[str, str]], seconds: float) -> dict[str, Any]:
    """Wait for all calls; return when each was told of, in seconds since 1970, by its trace id.

    ``gap_s`` is for how long the event loop was blocked at most.
    """
    return asyncio.run(_wait(calls, seconds))


async def _wait(calls: list[dict[str, str]], seconds: float) -> dict[str, Any]:
    from formant_provider.core.conversations.waiters import Watch
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.triggers.conversation import ConversationTrigger

    recipients = FormantHook().fingerprints(AGENT)
    deadline = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    told: dict[str, float] = {}

    async def wait(call: dict[str, str]) -> None:
        since = datetime.fromisoformat(call["since"])
        watch = Watch(since, call["trace_id"], None, recipients.mark(call["phone"]))
        trigger = ConversationTrigger("formant_default", None, AGENT, watch.to_json(), deadline, {})
        event = await anext(trigger.run())
        if event.payload["conversation_id"] is not None:
            told[call["trace_id"]] = time.time()

    work = asyncio.gather(*map(wait, calls))
    await asyncio.sleep(3)  # what is imported once is no block of every second
    gap_s = 0.0
    while not work.done():
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        gap_s = max(gap_s, time.perf_counter() - began - 0.01)
    await work
    return {"told": told, "gap_s": gap_s}


@dataclass
class Side:
    """Calls that are waited for by a process, and webhooks of them if there is a store.

    :ivar began: by our clock and by that of the sandbox.
    """

    sandbox: Sandbox
    calls: list[Call]
    process: subprocess.Popen[str]
    began: tuple[float, datetime]
    store: Store | None
    untold: list[Call]

    def tell(self) -> None:
        """Put webhooks of the calls that are over into the store."""
        from formant_provider.api.webhook_models import WebhookEvent
        from formant_provider.store.webhook_events import Delivery, record

        now, came = self.sandbox.now(), []
        while self.untold and self.untold[-1].over(now):
            body = json.dumps(webhook_of(self.untold.pop())).encode()
            event = WebhookEvent.from_body(body)
            came.append(Delivery(event, "formant_default", body, datetime.now(UTC)))
        if came and self.store is not None:
            record(self.store, came)

    def seconds(self, told: dict[str, float]) -> list[float]:
        """Return how long after each call's end it was told of."""
        at, virtual = self.began
        ends = {call.trace_id: at + (call.ends_at - virtual).total_seconds() / SPEED for call in self.calls}
        return [when - ends[trace_id] for trace_id, when in told.items()]


def webhook_of(call: Call) -> dict[str, Any]:
    """Return what the vendor sends when a call is over."""
    told = {
        "agent_id": call.agent_id,
        "status": call.ending.status,
        "conversation_id": call.conversation_id,
        "trace_id": call.trace_id,
        "to_phone": call.customer_phone,
        "from_phone": "+14155550199",
        "started_at": call.starts_at.isoformat(),
        "ended_at": call.ends_at.isoformat(),
    }
    retry = {"attempt_number": 1, "is_final_attempt": True, "max_attempts": 1, "next_retry_at": None}
    event = {"event_id": call.trace_id, "event_type": f"call.{call.ending.status}"}
    return {
        **event,
        "timestamp": call.ends_at.isoformat(),
        "data": {"call": told, "retry": retry, "results": {}},
    }


def start(side: str, count: int, spread_s: float, home: Path) -> Side:
    """Place calls that begin one after the other, and let a process wait for them."""
    from formant_provider.sandbox import Sandbox
    from formant_provider.store.secrets import new_secret

    sandbox = Sandbox(speed=SPEED, rate_limit=None)
    sandbox.start()
    begin = sandbox.now() + timedelta(seconds=LEAD_S * SPEED)
    calls, given = [], []
    for number in range(count):
        phone = f"+1415555{number // 90:02}{number % 90 + 10}"
        moment = begin + timedelta(seconds=number * spread_s * SPEED / count)
        calls.append(sandbox.place(phone, agent_id=AGENT, scheduled_for=moment))
        given.append({"trace_id": calls[-1].trace_id, "phone": phone, "since": sandbox.now().isoformat()})
    (home / f"{side}.json").write_text(json.dumps(given))
    secret = new_secret() if side == "webhooks" else None
    store = _store(home, secret) if secret else None
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    env |= {"AIRFLOW_HOME": str(home / side), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    env |= _connections(sandbox, home, secret)
    command = [sys.executable, __file__, "--wait", str(home / f"{side}.json"), str(spread_s + 120)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    untold = sorted(calls, key=lambda call: call.ends_at, reverse=True)
    return Side(sandbox, calls, process, (time.time(), sandbox.now()), store, untold)


def _store(home: Path, secret: str) -> Store:
    from formant_provider.store.engines import create
    from formant_provider.store.store import open_up, set_up

    engine = create(f"sqlite:///{home / 'calls.db'}")
    set_up(engine, "the bench", secret, now=datetime.now(UTC))
    return open_up(engine, "the bench", secret)


def _connections(sandbox: Sandbox, home: Path, secret: str | None) -> dict[str, str]:
    formant = json.loads(sandbox.connection_json())
    if secret:
        formant["extra"] = json.dumps({"store_conn_id": "calls_db", "store_secret": secret})
    database = {"conn_type": "sqlite", "host": str(home / "calls.db")}
    return {
        "AIRFLOW_CONN_FORMANT_DEFAULT": json.dumps(formant),
        "AIRFLOW_CONN_CALLS_DB": json.dumps(database),
    }


def compare(count: int, spread_s: float) -> int:
    """Let both sides wait at once; print what it took."""
    print(
        f"Waiting for {count} calls that end within {spread_s:g} s, at the default interval ...\n", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="formant-bench-") as folder:
        sides = {side: start(side, count, spread_s, Path(folder)) for side in SIDES}
        while any(side.process.poll() is None for side in sides.values()):
            sides["webhooks"].tell()
            time.sleep(0.05)
        told = {
            name: json.loads(side.process.communicate()[0].splitlines()[-1]) for name, side in sides.items()
        }
        for side in sides.values():
            side.sandbox.stop()
    took = {name: sides[name].seconds(told[name]["told"]) for name in SIDES}
    lists = {name: [each.endpoint for each in sides[name].sandbox.requests].count(LIST) for name in SIDES}
    details = {name: len(sides[name].sandbox.requests) - lists[name] for name in SIDES}
    heads = ("", "told", "list GETs", "detail GETs", "median", "95 %", "longest", "block")
    print("{:10}  {:>5}  {:>9}  {:>11}  {:>8}  {:>8}  {:>8}  {:>6}".format(*heads))
    for name in SIDES:
        spans = [statistics.median(took[name]), statistics.quantiles(took[name], n=20)[-1], max(took[name])]
        times = "  ".join(f"{span:6.1f} s" for span in spans)
        counts = f"{name:10}  {len(took[name]):5}  {lists[name]:9}  {details[name]:11}"
        print(f"{counts}  {times}  {1000 * told[name]['gap_s']:3.0f} ms")
    ratio = statistics.median(took["webhooks"]) / statistics.median(took["polls"])
    print(f"\nFrom the end of a call to the event of its trigger: {ratio:.0%} of the time of polls.")
    good = all(len(took[name]) == count for name in SIDES) and ratio <= 0.25
    return 0 if good and lists["webhooks"] <= 2 and not details["webhooks"] else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare both sides; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--calls", type=int, default=1000, help="how many are waited for, default %(default)s"
    )
    parser.add_argument(
        "--spread", type=float, default=90, help="seconds in which they end, default %(default)s"
    )
    parser.add_argument("--wait", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.wait:
        given, seconds = options.wait
        print(json.dumps(wait_in_this_process(json.loads(Path(given).read_text()), float(seconds))))
        return 0
    return compare(options.calls, options.spread)


if __name__ == "__main__":
    raise SystemExit(main())

"""Measures how fast webhooks are answered, and counts that none is lost and none is stored twice.

The receiver runs in a process of its own, with PostgreSQL (Debian: apt-get install postgresql). A client
sends 200 events a second, each of them twice, at moments that were set before: who is answered late delays
nobody, and an answer's time counts from when its request was due. With ``--kill`` the receiver and then the
database are killed, and started again, while the client does as the vendor: what gets no 2xx within ten
seconds is sent again after 30 and after 300 seconds, which are scaled.

Needs no key and no network. Leaves nothing behind. The exit code is 0 when every event that was answered 2xx
is stored, once, and p99 is within the bound; with ``--kill`` the bound is not looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENDOR_DELAYS_S = (30.0, 300.0)
VENDOR_TIMEOUT_S = 10.0
TRANSCRIPT = "agent: Good morning. human: I will pay on Friday. " * 30
MOST_P99_MS = 100.0


@dataclass
class Tally:
    """What came of the deliveries.

    :param times: milliseconds of each answer that was a 2xx to a first send.
    :param accepted: events that were answered 2xx.
    """

    times: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    given_up: Counter[str] = field(default_factory=Counter)


class Client:
    """Sends as the vendor does, over connections that are kept."""

    def __init__(self, port: int, scale: float) -> None:
        self.port = port
        self.scale = scale
        self.tally = Tally()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def deliver(self, due: float, event_id: str, body: bytes, head: bytes) -> None:
        """Send one event when it is due, and again as long as the vendor would."""
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        for attempt, delay_s in enumerate((0.0, *VENDOR_DELAYS_S)):
            await asyncio.sleep(delay_s * self.scale)
            status = await self._status(head + body)
            self.tally.statuses[status] += 1
            if status == "200":
                self.tally.accepted.add(event_id)
                if attempt == 0:
                    self.tally.times.append((time.monotonic() - due) * 1000)
                return
        self.tally.given_up[event_id] += 1

    async def _status(self, request: bytes) -> str:
        try:
            async with asyncio.timeout(VENDOR_TIMEOUT_S):
                return await self._exchange(request)
        except TimeoutError:
            return "timeout"
        except (OSError, asyncio.IncompleteReadError):
            return "no answer"

    async def _exchange(self, request: bytes) -> str:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # the receiver closes what is not used
                break
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return head[9:12].decode()


async def send_all(client: Client, rate: int, seconds: float) -> int:
    """Send all events, each twice; return how many events there were."""
    from support.webhook_events import webhook
    from support.webhook_server import signature

    begin, deliveries = time.monotonic() + 0.5, []
    # Of an event's two sends, the second one comes within two seconds.
    later = random.Random(7)  # noqa: S311 - no secret
    now = datetime.now(UTC).isoformat()
    for n in range(round(rate * seconds)):
        event_id = f"evt_{n}"
        told = webhook(
            event_id, conversation_id=f"conv_{n}", trace_id=f"t{n}", transcript=TRANSCRIPT, timestamp=now
        )
        body = json.dumps(told).encode()
        head = (
            "POST /webhooks/formant_default HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-FormantAI-Signature: {signature(body)}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        due = begin + n / rate
        for at in (due, due + later.uniform(0, min(2.0, seconds))):
            deliveries.append(asyncio.create_task(client.deliver(at, event_id, body, head)))
        if n % 500 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*deliveries)
    return round(rate * seconds)


class Receiving:
    """The receiver and its database, both of which may be killed and started again."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        from support.databases import postgres, postgres_database
        from support.stores import new_store
        from support.webhook_server import free_port

        self._stack, self._folder, self.port = stack, folder, free_port()
        self.database = stack.enter_context(postgres_database())
        self._server = postgres()
        new_store(self.database)
        self.database.close()
        self.start()

    def start(self) -> None:
        """Start the receiver."""
        from support.webhook_server import program

        self._running = self._stack.enter_context(
            program(self.database, self._folder, port=self.port, webhook_tolerance=43200)
        )

    async def killed(self, seconds: float) -> None:
        """Kill the receiver after a third of the time, and the database after two."""
        await asyncio.sleep(seconds / 3)
        await asyncio.to_thread(self._running.kill)
        await asyncio.to_thread(self.start)
        print("The receiver was killed, and started again.", flush=True)
        await asyncio.sleep(seconds / 3)
        await asyncio.to_thread(self._server.kill)
        await asyncio.sleep(2)
        await asyncio.to_thread(self._server.start)
        print("The database was killed, and started again.", flush=True)

    def cpu_s(self) -> float:
        """Return how many seconds of a processor the receiver has used since it was started."""
        numbers = Path(f"/proc/{self._running.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def stored(self) -> Counter[str]:
        """Return how often each event is in the store."""
        from formant_provider.store.webhook_events import events_after
        from support.webhook_server import open_store

        found: Counter[str] = Counter()
        store, seq, is_last = open_store(self.database), 0, False
        while not is_last:
            events, seq, is_last = events_after(store, seq)
            found.update(each.event.event_id for each in events)
        return found


def report(tally: Tally, stored: Counter[str], sent: int, *, kill: bool) -> bool:
    """Print all figures; return whether the bounds are kept."""
    times = sorted(tally.times)
    percentiles = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
    lost = tally.accepted - stored.keys()
    twice = [name for name, times_stored in stored.items() if times_stored > 1]
    both = {name for name, count in tally.given_up.items() if name not in tally.accepted}
    answers = ", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items()))
    print(f"answers    {answers}")
    print(f"p50        {percentiles[49]:.1f} ms of first sends that were accepted, from when they were due")
    print(f"p99        {percentiles[98]:.1f} ms, slowest {times[-1] if times else 0:.1f} ms")
    print(f"sent       {sent} events, each twice")
    print(f"stored     {len(stored)}")
    print(f"lost       {len(lost)} that were answered 2xx")
    print(f"twice      {len(twice)}")
    print(
        f"given up   {len(both)} of both sends, of which {len(both & stored.keys())} are stored all the same"
    )
    missing = sent - len(stored.keys() | both)
    print(f"missing    {missing} that are neither stored nor given up")
    return not lost and not twice and not missing and (kill or percentiles[98] <= MOST_P99_MS)


def main(argv: Sequence[str] | None = None) -> int:
    """Print all figures; 0 when the bounds are kept."""
    parser = argparse.ArgumentParser(description="Measure the receiver of webhooks.")
    parser.add_argument("--seconds", type=float, default=60, help="how long to send (default: 60)")
    parser.add_argument(
        "--rate", type=int, default=200, help="events a second, each sent twice (default: 200)"
    )
    parser.add_argument("--kill", action="store_true", help="kill the receiver and the database in between")
    scale = "by what the vendor's delays of 30 and 300 s are multiplied (default: 0.05)"
    parser.add_argument("--scale", type=float, default=0.05, help=scale)
    given = parser.parse_args(argv)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ["PYTHONPATH"] = str(ROOT)
    from support.airflow_home import use_own_airflow_home

    use_own_airflow_home()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        receiving = Receiving(stack, Path(folder))
        client = Client(receiving.port, given.scale)

        async def run() -> int:
            killing = asyncio.create_task(receiving.killed(given.seconds)) if given.kill else None
            sent = await send_all(client, given.rate, given.seconds)
            if killing is not None:
                await killing
            return sent

        before_s = receiving.cpu_s()
        sent = asyncio.run(run())
        if not given.kill:
            each_ms = (receiving.cpu_s() - before_s) * 1000 / (2 * sent)
            print(f"cpu        {each_ms:.2f} ms of the receiver for each request")
        return 0 if report(client.tally, receiving.stored(), sent, kill=given.kill) else 1


if __name__ == "__main__":
    raise SystemExit(main())

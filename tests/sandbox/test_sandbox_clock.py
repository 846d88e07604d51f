from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest

from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.clock import Clock

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)


def test_a_frozen_clock_moves_by_hand_only():
    """At speed 0 time stands still until it is advanced."""
    clock = Clock(NOON, speed=0)
    time.sleep(0.01)
    assert clock.now() == NOON
    assert clock.advance(90.5) == clock.now() == NOON + timedelta(seconds=90.5)


def test_a_fast_clock_runs_at_its_speed():
    """At speed 1000 a hundredth of a second is ten virtual seconds or more."""
    clock = Clock(NOON, speed=1000)
    time.sleep(0.01)
    assert timedelta(seconds=10) <= clock.now() - NOON < timedelta(seconds=1000)


def test_the_default_is_real_time():
    """Without settings a sandbox begins now and keeps step with real time."""
    before = datetime.now(UTC)
    sandbox = Sandbox()
    assert before <= sandbox.now() <= datetime.now(UTC) + timedelta(seconds=60)
    assert sandbox.speed == 1


def test_the_time_is_utc_whatever_the_start_was():
    """A start in another zone is the same time, given in UTC."""
    start_at = datetime(2026, 3, 18, 17, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    now = Clock(start_at, speed=0).now()
    assert (now, now.utcoffset()) == (NOON, timedelta(0))


def test_virtual_waits_become_real_ones():
    """A wait is divided by the speed; a frozen clock gives it unchanged."""
    assert [Clock(speed=speed).real_seconds(60) for speed in (60, 0.5, 0)] == [1, 120, 60]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e12])
def test_an_impossible_jump_is_refused(seconds):
    """Time does not go back, nor out of the calendar."""
    clock = Clock(NOON, speed=0)
    with pytest.raises(ValueError, match="seconds"):
        clock.advance(seconds)
    assert clock.now() == NOON


def test_no_advance_is_lost_between_threads():
    """Jumps from several threads add up."""
    clock = Clock(NOON, speed=0)
    threads = [threading.Thread(target=lambda: [clock.advance(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now() == NOON + timedelta(seconds=2000)


def test_every_request_can_move_the_clock(start):
    """With ``seconds_per_request`` each vendor request, good or bad, moves time once it is answered."""
    api = start(seconds_per_request=2)
    assert api.call().status_code == 200
    assert api.call("nobody").status_code == 400
    assert api.send("GET", "/v1/nowhere").status_code == 404
    assert [seen.at for seen in api.sandbox.requests] == [NOON + timedelta(seconds=s) for s in (0, 2, 4)]
    assert api.sandbox.now() == NOON + timedelta(seconds=6)
    api.send("GET", "/sandbox/stats")
    assert api.sandbox.now() == NOON + timedelta(seconds=6)


def test_a_list_can_shift_between_two_pages(start):
    """A record that appears between two requests pushes the others down: one is seen twice, one never."""
    api = start(seconds_per_request=1)
    first, second = api.sandbox.place("+14155550102"), api.sandbox.place("+14155550102")
    api.sandbox.advance(4)
    third = api.sandbox.place("+14155550103")
    api.sandbox.advance(2)
    pages = [api.conversations(limit=1, offset=offset).json() for offset in (0, 1, 2)]
    assert [page["total"] for page in pages] == [2, 3, 3]
    seen = [page["data"][0]["conversation_id"] for page in pages]
    assert seen == [call.conversation_id for call in (second, second, first)]
    assert third.conversation_id not in seen


def test_a_fast_sandbox_finishes_calls_by_itself(start):
    """In a demo nobody advances the clock: records appear as virtual time passes."""
    api = start(speed=100_000)
    api.call()
    deadline = time.monotonic() + 60
    while not api.conversations().json()["total"] and time.monotonic() < deadline:
        time.sleep(0.001)
    assert api.only_record()["status"] == "completed"


def test_the_date_header_is_by_the_sandbox_s_clock(start):
    """What an answer says in ``Date`` is the clock by which records are timed."""
    api = start(start_at=NOON)
    api.sandbox.advance(3600)
    assert parsedate_to_datetime(api.conversations().headers["Date"]) == NOON + timedelta(hours=1)


def test_calls_can_be_over_sooner_without_the_clock_going_faster(start):
    """With ``call_speed`` a call is over so many times sooner; what its record reports is the same."""
    api = start(call_speed=142)
    call = api.sandbox.place("+14155550100")
    assert call.ends_at - call.starts_at == timedelta(seconds=1)
    api.sandbox.advance(1)
    assert api.conversations().json()["data"][0]["duration_seconds"] == 142

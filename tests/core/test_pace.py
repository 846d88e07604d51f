"""Turns in order of arrival, and never more of them in a minute than allowed."""

from __future__ import annotations

import heapq
import itertools
import random

import pytest

from formant_provider.core.pace import LATEST_MS, Queue, Turn, passed, reserved, spacing_ms
from support.pacing import most_in_a_minute

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("calls_per_minute", "spacing"),
    [(1, 62_000), (10, 6_200), (60, 1_034), (2.5, 31_000), (0.5, 122_000), (62_000, 1)],
)
def test_sixty_two_seconds_are_shared_out(calls_per_minute: float, spacing: int) -> None:
    """A request may come two seconds after its turn; part of a call is none."""
    assert spacing_ms(calls_per_minute) == spacing


def test_nobody_waits_where_nobody_is() -> None:
    """The first call is placed at once, and the next one a spacing later."""
    queue = passed(Queue(), None, NOW, 1000)
    assert queue is not None
    assert passed(queue, None, queue.gate - 1, 1000) is None
    assert passed(queue, None, queue.gate, 1000) is not None


def test_who_waits_is_given_the_next_place() -> None:
    """First come, first served; and nobody takes a place that was given to somebody else."""
    queue = Queue(NOW + 1000, NOW + 1000)
    queue, first = reserved(queue, None, NOW, 1000, near=0)
    queue, second = reserved(queue, None, NOW + 1, 1000, near=0)
    assert (first.at, second.at) == (NOW + 1000, NOW + 2000)
    assert passed(queue, None, NOW + 1000, 1000) is None
    assert passed(queue, second, NOW + 1000, 1000) is None
    assert passed(queue, first, NOW + 1000, 1000) is not None


def test_a_place_is_kept() -> None:
    """Whoever asks again before their time is told the same."""
    queue, turn = reserved(Queue(NOW + 5000, NOW), None, NOW, 1000, near=9000)
    assert reserved(queue, turn, NOW + 10, 1000, near=9000) == (queue, turn)


def test_who_comes_late_passes_when_the_gate_allows() -> None:
    """A task that wakes late has lost no turn, and pushes the others back only by its own."""
    queue = Queue(NOW, NOW - 30_000)
    late = passed(queue, Turn(NOW - 20_000), NOW, 1000)
    assert late is not None
    assert NOW <= late.gate <= NOW + 1000
    moved, turn = reserved(late, Turn(NOW - 19_000), NOW, 1000, near=30_000)
    assert turn == Turn(late.gate, is_exact=True)
    assert passed(moved, turn, turn.at, 1000) == moved
    assert passed(moved, turn, turn.at + LATEST_MS + 1, 1000) is None


def test_a_rush_at_the_gate_queues_again() -> None:
    """After an outage all come at once: those whose turn at the gate is far are given a place again."""
    queue = Queue(NOW + 1000, NOW + 60_000)
    moved, turn = reserved(queue, Turn(NOW - 5000), NOW, 1000, near=30_000)
    assert turn == Turn(NOW + 60_000)
    assert moved.tail == NOW + 61_000


def test_places_of_dead_tasks_are_not_lost_for_ever() -> None:
    """When nobody has come for two minutes, whoever asks is served, and the queue begins anew."""
    dead = Queue(NOW + 3_600_000, NOW - 119_000)
    assert passed(dead, None, NOW, 1000) is None
    dead = Queue(NOW + 3_600_000, NOW - 121_000)
    moved = passed(dead, None, NOW, 1000)
    assert moved is not None
    assert moved.tail == moved.gate <= NOW + 1000
    moved, turn = reserved(dead, None, NOW, 1000, near=1000)
    assert turn == Turn(NOW, is_exact=True)
    assert moved.tail == moved.gate


@pytest.mark.parametrize("seed", range(20))
def test_no_minute_holds_too_many_however_late_tasks_wake(seed: int) -> None:
    """Some wait on the spot; others are deferred, wake late or never. All send up to a second after that."""
    rng = random.Random(seed)  # noqa: S311 - plays at dice, guards nothing
    limit, spacing = 30, spacing_ms(30)
    queue, sent, order = Queue(), list[int](), itertools.count()
    asks: list[tuple[int, int, Turn | None]] = []
    for _ in range(400):
        heapq.heappush(asks, (NOW + rng.randrange(300_000), next(order), None))
    while asks:
        now, _, turn = heapq.heappop(asks)
        if (moved := passed(queue, turn, now, spacing)) is not None:
            queue = moved
            sent.append(now + rng.randrange(LATEST_MS))
            continue
        near = rng.choice([0, 30_000])
        queue, turn = reserved(queue, turn, now, spacing, near=near)
        is_near = turn.at - now <= near
        if not is_near and rng.random() < 0.1:
            continue  # it is never seen again
        late = rng.randrange(50) if is_near else rng.randrange(20_000)
        heapq.heappush(asks, (max(now, turn.at) + late, next(order), turn))
    assert len(sent) > 300
    assert most_in_a_minute(sent) <= limit

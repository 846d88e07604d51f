"""Redis, PostgreSQL or the API server is away for a while: everybody is called once, sooner or later.

In each outage there are calls whose answers are on their way, calls that are waited for in a triggerer, and
call lists in the middle, each with and without a call store. The call store is in the same PostgreSQL.
"""

from __future__ import annotations

import pytest
from cluster.cluster_dags import PEOPLE, STORED
from cluster.conftest import Cases, Played

pytestmark = pytest.mark.timeout(1800)


def in_the_middle(cases: Cases, outage: str, seconds: float) -> list[Played]:
    """Start what is under way when the outage begins, and wait until it is; some calls are queued still."""
    lists, waits, calls = (
        [f"{outage}_{kind}{store}" for store in ("", STORED)] for kind in ("list", "waits", "calls")
    )
    cases.hold_answers(lists, seconds=seconds / 60, times=120)
    cases.hold_answers(calls, seconds=8, times=12)
    runs = cases.play([*waits, *lists])
    for run in runs:
        run.wait_for_rings(10 if run.is_list else PEOPLE[run.name])
    queued = cases.play(calls)
    for run in queued:
        run.wait_for_rings()
    return [*runs, *queued]


def assert_all_are_called_once(runs: list[Played]) -> None:
    for run in runs:
        run.wait()
        run.assert_everybody_was_called_once()


def test_everybody_is_called_once_while_redis_is_away(healthy: Cases) -> None:
    """Redis is killed for ten seconds, and has forgotten every message."""
    runs = in_the_middle(healthy, "redis", seconds=30)
    healthy.airflow.redis.away_for(10)
    assert_all_are_called_once(runs)
    assert "stuck in queued" in healthy.airflow.log("scheduler")  # messages were lost indeed


def test_everybody_is_called_once_while_the_database_of_airflow_is_away(healthy: Cases) -> None:
    """PostgreSQL is killed for ten seconds, and the call stores in it too."""
    runs = in_the_middle(healthy, "database", seconds=30)
    healthy.airflow.database_away_for(10)
    assert_all_are_called_once(runs)


def test_everybody_is_called_once_while_the_api_server_is_away(healthy: Cases) -> None:
    """The API server is killed for 45 seconds."""
    runs = in_the_middle(healthy, "api", seconds=60)
    healthy.airflow.away_for(45, "api-server")
    assert_all_are_called_once(runs)

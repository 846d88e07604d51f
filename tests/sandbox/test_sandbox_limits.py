from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from formant_provider.sandbox import Fault

PHONE = "+14155550100"


def test_the_limit_counts_down_and_then_refuses(start):
    """Each request of a key costs one; the one too many is a 429, rings nothing and says how long to wait."""
    api = start(rate_limit=2, rate_window_seconds=90)
    assert [api.call().headers["X-RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]
    refused = api.call()
    assert refused.status_code == 429
    assert refused.json() == {"error": {"message": "rate limit exceeded", "type": "rate_limit_exceeded"}}
    assert refused.headers["X-RateLimit-Limit"] == "2"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert refused.headers["Retry-After"] == "90"
    assert api.sandbox.rings == {PHONE: 2}


def test_the_default_is_50_a_minute(start):
    """Out of the box a key has 50 requests in 60 virtual seconds."""
    api = start()
    assert {api.conversations().status_code for _ in range(50)} == {200}
    assert api.conversations().headers["Retry-After"] == "60"


def test_the_window_ends(start):
    """After the window the full number of requests is there again."""
    api = start(rate_limit=1)
    api.call()
    api.sandbox.advance(59)
    assert api.call().headers["Retry-After"] == "1"
    api.sandbox.advance(1)
    assert api.call().status_code == 200


def test_every_authenticated_answer_shows_the_limit(start):
    """Success, 400, 404 and 409 carry the three headers alike, and all cost one request."""
    api = start()
    api.call(idempotency_key="k")
    answers = [
        api.call(idempotency_key="k"),
        api.call(surprise=1),
        api.call(agent_id=1),
        api.conversations(),
        api.conversations(limit=0),
        api.conversation("none"),
    ]
    assert [answer.status_code for answer in answers] == [409, 400, 404, 200, 400, 404]
    remaining = [answer.headers["X-RateLimit-Remaining"] for answer in answers]
    assert remaining == ["48", "47", "46", "45", "44", "43"]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"50"}
    assert not any("Retry-After" in answer.headers for answer in answers)


def test_each_key_has_its_own_limit(start, another):
    """One tenant cannot use up another's requests, and a wrong key uses up nobody's."""
    api = start(rate_limit=1, other_keys=["second"])
    assert another(api, "wrong").call().status_code == 401
    assert api.call().status_code == 200
    assert another(api, "second").call().status_code == 200


def test_the_limit_can_be_off(start):
    """Without a limit there are no rate headers and no 429."""
    api = start(rate_limit=None)
    answers = [api.conversations() for _ in range(60)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any(name.lower().startswith("x-ratelimit") for answer in answers for name in answer.headers)


def test_the_reset_is_a_time_on_the_clock_of_the_date(start):
    """``X-RateLimit-Reset`` is ISO 8601 with offset, as far ahead of ``Date`` as there is to wait."""
    headers = start(start_at=datetime(2001, 1, 1, tzinfo=UTC)).call().headers
    text, date = headers["X-RateLimit-Reset"], parsedate_to_datetime(headers["Date"])
    assert date == datetime(2001, 1, 1, tzinfo=UTC)
    assert text.endswith("+00:00")
    assert datetime.fromisoformat(text) - date == timedelta(seconds=60)


def test_waiting_for_retry_after_is_enough(start):
    """With a fast clock ``Retry-After`` is in real seconds, rounded up; who waits gets through."""
    api = start(rate_limit=1, speed=100, rate_window_seconds=30)
    api.call()
    refused = api.call()
    assert refused.headers["Retry-After"] == "1"
    time.sleep(0.35)
    assert api.call().status_code == 200


def test_the_cap_on_running_calls(start):
    """With a cap, one call too many is a 429 with the vendor's extra fields, without rate headers."""
    api = start(max_concurrent_calls=2)
    assert [api.call().status_code, api.call().status_code] == [200, 200]
    refused = api.call()
    assert refused.status_code == 429
    assert refused.json() == {
        "error": {
            "message": "concurrent call limit reached. 2 simultaneous calls allowed.",
            "type": "concurrent_call_limit_exceeded",
            "current_calls": 2,
            "max_calls": 2,
        }
    }
    assert not any(name.lower().startswith(("x-ratelimit", "retry-after")) for name in refused.headers)
    assert api.sandbox.rings == {PHONE: 2}


def test_the_cap_frees_up_when_a_call_ends(start):
    """Only running calls count: not the ended ones, and scheduled ones from their start."""
    api = start(max_concurrent_calls=1)
    assert api.call("+14155550102").status_code == 200
    assert api.call(scheduled_for="2026-03-18T12:01:00Z").status_code == 200
    assert api.call().status_code == 429
    api.sandbox.advance(5)
    assert api.call("+14155550102").status_code == 200
    api.sandbox.advance(60)
    assert api.call().status_code == 429


def test_the_cap_is_per_tenant(start, another):
    """Another tenant's calls do not count."""
    api = start(max_concurrent_calls=1, other_keys=["second"])
    assert [api.call().status_code, another(api, "second").call().status_code] == [200, 200]


def test_a_request_that_fails_before_acceptance_costs_nothing(start):
    """A fault ahead of every check leaves the limit as it was."""
    api = start()
    api.sandbox.inject("POST /v1/call", Fault.ERROR_500_BEFORE)
    api.call()
    assert api.call().headers["X-RateLimit-Remaining"] == "49"

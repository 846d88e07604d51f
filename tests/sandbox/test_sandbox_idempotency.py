from __future__ import annotations

import pytest

PHONE = "+14155550100"
DAY = 24 * 3600


def test_a_used_key_is_refused_without_a_hint(start):
    """A second call with the key is a 409 that names no id of the first, and nothing rings again."""
    api = start()
    assert api.call(idempotency_key="k").status_code == 200
    again = api.call(idempotency_key="k")
    assert again.status_code == 409
    assert again.json() == {"error": {"message": "idempotency key already used", "type": "duplicate_request"}}
    assert api.sandbox.rings == {PHONE: 1}


def test_a_changed_body_does_not_free_the_key(start):
    """The key alone decides, not what else the request says."""
    api = start()
    api.call(idempotency_key="k")
    assert api.call("+14155550111", idempotency_key="k").status_code == 409


def test_a_key_is_free_again_after_24_hours(start):
    """The key blocks up to, and no longer than, 24 h after its first use; refusals do not prolong it."""
    api = start()
    api.call(idempotency_key="k")
    api.sandbox.advance(DAY - 1)
    assert api.call(idempotency_key="k").status_code == 409
    api.sandbox.advance(1)
    assert api.call(idempotency_key="k").status_code == 200
    assert api.call(idempotency_key="k").status_code == 409


def test_a_key_counts_per_agent(start):
    """Another agent may use the same key."""
    api = start()
    assert [api.call(agent_id=agent, idempotency_key="k").status_code for agent in (123, 456)] == [200, 200]


def test_a_key_counts_per_tenant(start, another):
    """Another tenant may use the same key."""
    api = start(other_keys=["second"])
    other = another(api, "second")
    assert [caller.call(idempotency_key="k").status_code for caller in (api, other)] == [200, 200]


def test_without_a_key_nothing_is_a_duplicate(start):
    """Calls without a key, or with null, are all accepted."""
    api = start()
    assert {api.call(**fields).status_code for fields in ({}, {}, {"idempotency_key": None})} == {200}
    assert api.sandbox.rings == {PHONE: 3}


@pytest.mark.parametrize("fields", [{"surprise": 1}, {"agent_id": 1}], ids=["400", "404"])
@pytest.mark.parametrize("uses_key", [False, True])
def test_a_wrong_request_never_uses_the_key(start, fields, uses_key):
    """After a 400 or 404 the corrected request passes with the same key, whatever the switch says."""
    api = start(failed_request_uses_key=uses_key)
    assert not api.call(idempotency_key="k", **fields).ok
    assert api.call(idempotency_key="k").status_code == 200


FAILURES = ["error_500_before", "error_503_before", "rate_limit", "rate_limit_reset_only"]
FAILURES += ["rate_limit_no_headers", "concurrency_limit"]


@pytest.mark.parametrize("fault", FAILURES)
@pytest.mark.parametrize(("uses_key", "second"), [(False, 200), (True, 409)])
def test_whether_a_failed_request_uses_the_key_is_a_switch(start, fault, uses_key, second):
    """After a 429 or 5xx that placed nothing, the key is free or used, as the switch says; no phone rang."""
    api = start(failed_request_uses_key=uses_key)
    api.sandbox.inject("POST /v1/call", fault)
    assert api.call(idempotency_key="k").status_code in {429, 500, 503}
    assert not api.sandbox.rings
    assert api.call(idempotency_key="k").status_code == second


@pytest.mark.parametrize(("uses_key", "second"), [(False, 200), (True, 409)])
@pytest.mark.parametrize("settings", [{"rate_limit": 1}, {"max_concurrent_calls": 1}])
def test_a_real_limit_uses_the_key_like_an_injected_one(start, settings, uses_key, second):
    """The switch holds for the sandbox's own 429 answers too."""
    api = start(failed_request_uses_key=uses_key, **settings)
    api.call()
    assert api.call(idempotency_key="k").status_code == 429
    api.sandbox.advance(200)
    assert api.call(idempotency_key="k").status_code == second


def test_a_failure_does_not_prolong_a_used_key(start):
    """With the switch on, a failed repeat leaves the 24 h where the first use began them."""
    api = start(failed_request_uses_key=True)
    api.call(idempotency_key="k")
    api.sandbox.advance(DAY - 1)
    api.sandbox.inject("POST /v1/call", "error_500_before")
    api.call(idempotency_key="k")
    api.sandbox.advance(1)
    assert api.call(idempotency_key="k").status_code == 200


def test_a_drop_before_accepting_leaves_the_key_alone(start):
    """A request that got no answer and placed nothing has not used its key, even with the switch on."""
    api = start(failed_request_uses_key=True)
    api.sandbox.inject("POST /v1/call", "drop_before")
    with pytest.raises(OSError, match="closed connection"):
        api.call(idempotency_key="k")
    assert api.call(idempotency_key="k").status_code == 200


def test_a_wrong_request_hit_by_a_failure_does_not_use_the_key(start):
    """With the switch on, only a request that would have been valid uses its key up."""
    api = start(failed_request_uses_key=True)
    api.sandbox.inject("POST /v1/call", "error_500_before", times=2)
    assert api.call(idempotency_key="k", surprise=1).status_code == 500
    assert api.call(idempotency_key="k", agent_id=1).status_code == 500
    assert api.call(idempotency_key="k").status_code == 200

from __future__ import annotations

from itertools import pairwise

import pytest

PHONE = "+14155550100"
COMPLETED_SECONDS = 142


def phones(*endings):
    return [f"+141555501{ending}" for ending in endings]


def rows(*endings):
    return "\n".join(["customer_phone", *phones(*endings), ""])


def counts(metrics):
    """Return the counts that are not nought, by their names without ``_count``."""
    return {
        name.removesuffix("_count"): value
        for name, value in metrics.items()
        if name.endswith("_count") and value
    }


def test_rows_are_called_at_the_rate_of_the_setting(start):
    """Row after row becomes a conversation, this many in a virtual minute."""
    api = start(batch_calls_per_minute=2, record_appears="start")
    api.batch(rows("00", "10", "20", "30"))
    seen = []
    for seconds in (0, 29, 1, 30, 30, 600):
        api.sandbox.advance(seconds)
        seen.append(api.conversations().json()["total"])
    assert seen == [1, 1, 2, 3, 4, 4]
    starts = [item["start_timestamp"] for item in api.conversations().json()["data"]]
    assert [first - second for first, second in pairwise(starts)] == [30_000] * 3


def test_a_row_becomes_a_conversation_like_any_other(start):
    """Its record is in the list and in detail, with a trace and, when there is one, a recording."""
    api = start()
    api.batch(rows("00"))
    assert api.conversations().json()["total"] == 0
    api.sandbox.advance(COMPLETED_SECONDS)
    record = api.only_record()
    assert (record["contact_number"], record["status"], record["agent_id"]) == (PHONE, "completed", 456)
    assert record["trace_id"]
    assert api.recording(record["conversation_id"]).status_code == 200
    assert api.conversations(agent_id=123).json()["total"] == 0


@pytest.mark.parametrize("order", ["newest_first", "oldest_first", "newest_end_first", "unordered"])
def test_calls_and_rows_share_one_list(start, order):
    """In every order each record is on exactly one page, and the order is that of the calls."""
    api = start(list_order=order, batch_calls_per_minute=60, rate_limit=None)
    api.call("+14155550102")
    api.sandbox.advance(5)
    api.batch(rows("00", "01", "02"))
    api.sandbox.advance(1000)
    api.call("+14155550102")
    api.sandbox.advance(5)
    items = [api.conversations(limit=1, offset=offset).json()["data"][0] for offset in range(5)]
    assert len({item["conversation_id"] for item in items}) == api.conversations().json()["total"] == 5
    starts = [item["start_timestamp"] for item in items]
    ends = [item["end_timestamp"] for item in items]
    expected = {"newest_first": starts, "oldest_first": starts[::-1], "newest_end_first": ends}
    assert expected.get(order, [5, 4])[::-1] == sorted(expected.get(order, [5, 4]))


def test_metrics_follow_the_recipients(start):
    """Recipients are in progress, then in the count of their outcome; before their call they are in none."""
    api = start(batch_calls_per_minute=1)
    batch_id = api.batch(rows("00", "01", "02")).json()["data"]["id"]
    seen = []
    for seconds in (0, 59, 1, 30, 30, 5, 60):
        api.sandbox.advance(seconds)
        metrics = api.metrics(batch_id)
        seen.append((counts(metrics), metrics["total_processed"]))
    assert seen == [
        ({"in_progress": 1}, 0),
        ({"in_progress": 1}, 0),
        ({"in_progress": 2}, 0),
        ({"in_progress": 1, "no_answer": 1}, 1),
        ({"in_progress": 2, "no_answer": 1}, 1),
        ({"in_progress": 1, "no_answer": 1, "busy": 1}, 2),
        ({"completed": 1, "success": 1, "no_answer": 1, "busy": 1}, 3),
    ]
    assert (metrics["success_rate"], metrics["avg_duration_seconds"]) == (33.33, 142.0)


def test_the_success_rate_is_one_of_all_recipients(start):
    """It grows while the batch runs, since recipients who were not called yet count as well."""
    api = start(batch_calls_per_minute=1)
    batch_id = api.batch(rows("00", "10")).json()["data"]["id"]
    rates = [api.metrics(batch_id)["success_rate"]]
    for seconds in (COMPLETED_SECONDS, 60):
        api.sandbox.advance(seconds)
        rates.append(api.metrics(batch_id)["success_rate"])
    assert rates == [0.0, 50.0, 100.0]


def test_every_outcome_has_its_count_but_two(start):
    """A telephony failure and a word the vendor does not document are in no count: it never adds up."""
    api = start()
    batch_id = api.batch(rows(*(f"0{digit}" for digit in range(10)))).json()["data"]["id"]
    api.sandbox.advance(10_000)
    metrics = api.metrics(batch_id)
    assert counts(metrics) == {
        "busy": 1,
        "completed": 3,
        "failed": 1,
        "no_answer": 1,
        "socket_failure": 1,
        "success": 3,
        "unreachable": 1,
    }
    assert metrics["total_processed"] == 8


@pytest.mark.parametrize(
    ("switch", "processed", "failed"), [("nowhere", 1, 0), ("processed", 2, 0), ("failed", 2, 1)]
)
def test_where_a_telephony_failure_is_counted_is_a_switch(start, switch, processed, failed):
    """Nowhere, among the processed alone, or as a failure."""
    api = start(uncounted_outcomes=switch)
    batch_id = api.batch(rows("00", "06")).json()["data"]["id"]
    api.sandbox.advance(10_000)
    metrics = api.metrics(batch_id)
    assert (metrics["total_processed"], metrics["failed_count"]) == (processed, failed)
    assert (metrics["in_progress_count"], metrics["pending_retry_count"]) == (0, 0)


def test_rows_not_answered_are_redialled(start):
    """Between two attempts a recipient is pending retry; the last attempt decides the outcome."""
    api = start(platform_redials=2, platform_redial_after_seconds=100)
    batch_id = api.batch(rows("02", "00")).json()["data"]["id"]
    seen = []
    for seconds in (5, 100, 5, 50, 50, 142):
        api.sandbox.advance(seconds)
        seen.append(counts(api.metrics(batch_id)))
    assert seen == [
        {"in_progress": 1, "pending_retry": 1},
        {"in_progress": 2},
        {"in_progress": 1, "pending_retry": 1},
        {"pending_retry": 1, "completed": 1, "success": 1},
        {"in_progress": 1, "completed": 1, "success": 1},
        {"completed": 2, "success": 2},
    ]
    assert api.sandbox.rings == dict.fromkeys(phones("02", "00"), 1)


@pytest.mark.parametrize(("switch", "different"), [("same", 1), ("new", 3)])
def test_redials_of_a_row_are_records_of_one_chain(start, switch, different):
    """Ids count the attempts, and traces are as for calls; each record stays what it is."""
    api = start(platform_redials=2, redial_trace_id=switch, trace_id_in_list=True)
    api.batch(rows("02"))
    api.sandbox.advance(10_000)
    items = api.conversations().json()["data"]
    chains, numbers = zip(*(item["conversation_id"].split("_") for item in items), strict=True)
    assert (len(set(chains)), numbers) == (1, ("3", "2", "1"))
    assert len({item["trace_id"] for item in items}) == different
    for item in items:
        record = api.conversation(item["conversation_id"]).json()["data"]
        assert item.items() <= record.items()


def test_the_chain_of_a_row_can_be_joined(start):
    """A call that joins a row's conversation is its next attempt; an attempt that is none is not found."""
    api = start(platform_redials=1)
    api.batch(rows("02"))
    api.sandbox.advance(10_000)
    last = api.conversations().json()["data"][0]["conversation_id"]
    chain_id = last.partition("_")[0]
    assert last == f"{chain_id}_2"
    assert api.call(conversation_id=f"{chain_id}_3").status_code == 404
    assert api.call(conversation_id=last).status_code == 200
    assert api.sandbox.calls[0].conversation_id == f"{chain_id}_3"


def test_rows_count_towards_the_cap_and_are_never_refused(start):
    """They count towards the cap on running calls, but a batch call continues when it is reached."""
    api = start(max_concurrent_calls=2)
    assert api.batch(rows("00", "10", "20")).status_code == 200
    api.sandbox.advance(1)
    answer = api.call()
    assert (answer.status_code, answer.json()["error"]["current_calls"]) == (429, 3)
    api.sandbox.advance(COMPLETED_SECONDS)
    assert api.call().status_code == 200


def test_batches_are_listed_and_read(start):
    """The list is newest first, can be narrowed to an agent and paged, and agrees with the detail."""
    api = start()
    ids = [
        api.batch(name=str(n), agent_id=agent).json()["data"]["id"] for n, agent in enumerate([456, 123, 456])
    ]
    assert len(set(ids)) == 3
    page = api.batches().json()
    assert ([item["id"] for item in page["data"]], page["has_more"], page["total"]) == (ids[::-1], False, 3)
    page = api.batches(agent_id=456, limit=1).json()
    assert ([item["id"] for item in page["data"]], page["has_more"], page["total"]) == ([ids[2]], True, 2)
    assert api.batches(limit=1, offset=1).json()["data"] == [api.batches(f"/{ids[1]}").json()["data"]]
    assert api.batches(limit=101).status_code == 400
    assert api.batches(name="0").status_code == 400


@pytest.mark.parametrize("order", ["oldest_first", "unordered"])
def test_other_orders_of_the_list(start, order):
    """The switch for the order of conversations holds for batches too."""
    api = start(list_order=order)
    ids = [api.batch().json()["data"]["id"] for _ in range(6)]
    listed = [item["id"] for item in api.batches().json()["data"]]
    assert sorted(listed) == ids
    assert listed == ids or order == "unordered"
    assert listed == [item["id"] for item in api.batches().json()["data"]]


@pytest.mark.parametrize("path", ["", "/metrics"])
def test_what_is_unknown_and_what_is_another_tenant_s_look_the_same(start, another, path):
    """An unknown id, an id that is no number, and another key's batch call are the same 404."""
    api = start(other_keys=["theirs"])
    other = another(api, "theirs")
    batch_id = other.batch().json()["data"]["id"]
    answers = [api.batches(f"/{wrong}{path}") for wrong in (batch_id, 1, "x")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert api.batches().json()["total"] == 0
    assert other.batches(f"/{batch_id}{path}").status_code == 200
    other.sandbox.advance(10_000)
    assert (api.conversations().json()["total"], other.conversations().json()["total"]) == (0, 1)
    record = other.conversations().json()["data"][0]["conversation_id"]
    assert api.conversation(record).status_code == 404


def test_a_list_that_lags_leaves_a_new_batch_call_out(start):
    """It is missing from so many reads that would have shown it, total included; other reads do not count."""
    api = start(batch_list_lag_reads=2)
    batch_id = api.batch().json()["data"]["id"]
    assert api.batches(f"/{batch_id}").status_code == 200
    for query in ({"agent_id": 123}, {"offset": 1}, {"limit": 1}, {}):
        page = api.batches(**query).json()
        assert (page["data"], page["total"]) == ([], 0)
    assert [item["id"] for item in api.batches().json()["data"]] == [batch_id]


def test_the_status_moves_only_when_asked_to(start):
    """By default it stays ``pending``, since no other word is documented."""
    seen = []
    for moves in (False, True):
        api = start(batch_status_moves=moves)
        batch_id = api.batch().json()["data"]["id"]
        for seconds in (0, 1, 1000):
            api.sandbox.advance(seconds)
            seen.append(api.batches(f"/{batch_id}").json()["data"]["status"])
    assert seen == ["pending"] * 3 + ["pending", "in_progress", "completed"]


def test_a_long_batch_is_followed_quickly(start):
    """Every row of 20,000 is in the list and in the metrics, half way and at the end."""
    api = start(rate_limit=None, batch_calls_per_minute=10_000, record_appears="start")
    numbers = [f"+1415{number:05d}00" for number in range(20_000)]
    batch_id = api.sandbox.place_batch(numbers).batch_id
    seen = []
    for seconds in (60, 10_000):
        api.sandbox.advance(seconds)
        seen.append((api.conversations().json()["total"], api.metrics(batch_id)["total_processed"]))
    assert seen == [(10_001, 0), (20_000, 20_000)]
    last = api.conversations(limit=100, offset=19_900).json()
    assert [item["contact_number"] for item in last["data"]] == numbers[99::-1]
    assert not last["has_more"]

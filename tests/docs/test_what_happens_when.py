"""The page "What happens when ..." says what the failure matrix holds, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.matrix import RETRIES, ROWS, STORE, Ends, Row

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "what-happens-when.md").read_text()
HEAD = ["What happened", "Calls placed", "The task ends", "Ids downstream", "What you have to do"]
WITH_STORE = "With a call store"
TOPICS = dict.fromkeys(row.topic for row in ROWS)


# What happens to webhooks, and the tests that hold how it ends.
WEBHOOKS = {
    "the receiver is down, and back within five minutes": ["what_was_answered_survives_the_process"],
    "the receiver is down for longer, and the vendor has given up": [
        "what_webhooks_miss_is_found_by_the_safety_poll"
    ],
    "the database of the store is down when an event comes": ["a_database_that_comes_back_is_used"],
    "the database of the store is down while the task waits": [
        "a_store_that_does_not_answer_leaves_polls_as_before"
    ],
    "the store has committed the event, and the answer is lost": [
        "a_slow_store_is_not_waited_for_longer_than_the_vendor_waits"
    ],
    "an event is delivered twice, or sent by two targets of the agent": [
        "an_event_that_is_delivered_again_is_stored_once",
        "two_targets_that_tell_the_same_are_stored_once",
    ],
    "somebody sends a recorded event again": [
        "a_replay_within_the_tolerance_changes_nothing",
        "the_signed_time_is_within_the_tolerance",
    ],
    "an event is late": [
        "an_event_ends_the_wait_between_two_polls",
        "what_webhooks_miss_is_found_by_the_safety_poll",
    ],
    "an event never comes": ["what_webhooks_miss_is_found_by_the_safety_poll"],
    "the event of a redial comes before that of the attempt before it": [
        "an_older_attempt_that_is_told_later_changes_nothing"
    ],
    "the target has another secret, or a proxy changes the body": [
        "what_is_not_signed_is_refused_in_one_way",
        "a_day_without_an_event_ends_the_trust",
    ],
    "the target is missing at the agent": ["an_agent_that_was_not_heard_from_is_polled_as_before"],
    "a redial is announced and never made": ["a_redial_that_never_comes_is_not_waited_for_without_end"],
    "the person calls in meanwhile": ["a_call_that_came_in_is_nobodys"],
    "the response to the call was lost, and its event comes": [
        "a_lost_receipt_is_confirmed_by_its_event_and_the_list"
    ],
}


def lines_of(row: Row) -> Iterator[list[str]]:
    """What the page says of a row: more lines where it differs by what a failed request does to its key."""
    kept, used = (cells_of(row.ends(key_used=key_used)) for key_used in (False, True))
    in_list = cells_of(row.ends(key_used=True, mapped=True))
    stored, stored_used = (in_short(row.ends(key_used=key_used, stored=True)) for key_used in (False, True))
    if row.topic == STORE:
        yield [row.name, *kept]
        return
    if (kept, stored) == (used, stored_used) and kept == in_list:
        yield [row.name, *kept, stored]
        return
    yield [f"{row.name}; **the key is kept**", *kept, stored]
    yield [f"{row.name}; **the key is used**", *used, stored_used]
    if in_list != used:
        yield [f"{row.name}, in a mapped task; **the key is used**", *in_list, stored_used]


def in_short(ends: Ends) -> str:
    """The end and the ids, in one cell."""
    if not ends.placement:
        return f"{'one' if ends.rings else 'no'} call, `failed`"
    words = " or ".join(f"`{word}`" for word in ends.placement)
    ids = {"yes": "with its ids", "`None`": "without ids"}.get(
        ids_of(ends), "without ids while `unconfirmed`"
    )
    return f"{'one' if ends.rings else 'no'} call, {words}, {ids}"


def cells_of(ends: Ends) -> list[str]:
    state = ", ".join([f"`{ends.state}`", " or ".join(f"`{word}`" for word in ends.placement)])
    return ["one" if ends.rings else "none", state.removesuffix(", "), ids_of(ends), ends.todo]


def ids_of(ends: Ends) -> str:
    if "unconfirmed" not in ends.placement:
        return "yes" if ends.placement else "none, and nothing downstream runs"
    return "`None`" if len(ends.placement) == 1 else "yes, or `None` while `unconfirmed`"


def table_under(topic: str) -> list[list[str]]:
    """The table under a heading of the page, its head first."""
    section = re.split(r"^## ", PAGE.split(f"\n## {topic}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.strip("| \n").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [row for row in rows if not set(row[0]) <= set("-|")]


def test_every_topic_of_the_matrix_is_a_heading() -> None:
    """The page has the topics of the matrix for headings, between what the words mean and webhooks."""
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == ["The words", *TOPICS, "Webhooks"]


@pytest.mark.parametrize("topic", TOPICS)
def test_the_page_says_what_the_matrix_holds(topic: str) -> None:
    """Each table has the rows of its topic, all of them and none besides, cell by cell."""
    wanted = [line for row in ROWS if row.topic == topic for line in lines_of(row)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in wanted)
    head = HEAD if topic == STORE else [*HEAD, WITH_STORE]
    assert table_under(topic) == [head, *wanted], f"the table should be:\n{text}"


def test_each_line_about_webhooks_has_a_test() -> None:
    """The table has the rows that tests hold, and each of these tests exists."""
    head, *rows = table_under("Webhooks")
    assert head == ["What happened", "The receiver answers", "The waiting task", "What you have to do"]
    assert [row[0] for row in rows] == list(WEBHOOKS)
    tests = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    for names in WEBHOOKS.values():
        assert all(f"\ndef test_{name}(" in tests for name in names), names


def test_the_words_of_the_page_are_those_of_the_code() -> None:
    """The page explains each word that a placement can be, and quotes limits as they are."""
    import inspect

    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.calls.placement import Result
    from formant_provider.operators.call import FormantCreateCallOperator

    words = PAGE.split("\n## The words\n")[1].split("\n## ")[0]
    assert re.findall(r"^- `(\w+)`", words, re.MULTILINE) == [result.value for result in Result]
    lookup = inspect.signature(FormantCreateCallOperator).parameters["lookup_timeout"].default
    assert f"{lookup} seconds" in words
    assert f"`retries={RETRIES}`" in PAGE
    assert RetryPolicy().max_attempts == 4
    assert "four requests with one key" in PAGE

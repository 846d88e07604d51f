"""The page "What happens when ..." says what the failure matrix holds, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.matrix import RETRIES, ROWS, STORE, Ends, Row

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "what-happens-when.md").read_text()
HEAD = ["What happened", "Calls placed", "The task ends", "Ids downstream", "What you have to do"]
WITH_STORE = "With a call store"
TOPICS = dict.fromkeys(row.topic for row in ROWS)


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
    """The page has the topics of the matrix for headings, in that order, after what the words mean."""
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == ["The words", *TOPICS]


@pytest.mark.parametrize("topic", TOPICS)
def test_the_page_says_what_the_matrix_holds(topic: str) -> None:
    """Each table has the rows of its topic, all of them and none besides, cell by cell."""
    wanted = [line for row in ROWS if row.topic == topic for line in lines_of(row)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in wanted)
    head = HEAD if topic == STORE else [*HEAD, WITH_STORE]
    assert table_under(topic) == [head, *wanted], f"the table should be:\n{text}"


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

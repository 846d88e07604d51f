"""What an agent has collected becomes cells of declared types; what does not fit is named, not guessed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.models import Conversation
from formant_provider.core.call_lists.result_columns import ResultColumn, cells_of, parse_result_columns

HUGE = 10**400
KINDS = ("text", "integer", "number", "boolean", "date", "moment", "json")


def a_record(results: Any = None, status: str = "completed", **known: Any) -> Conversation:
    return Conversation("c-1", 456, status, results=results, **known)


def cell(value: Any, kind: str) -> tuple[Any, str]:
    cells, status = cells_of(a_record({"x": value}), parse_result_columns({"x": ("results.x", kind)}))
    return cells["x"], status


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "yes", "yes"),
        ("text", "", ""),
        ("text", 12, "12"),
        ("text", True, "true"),
        ("text", "a\ud800", "a?"),
        ("integer", 12, 12),
        ("integer", 12.0, 12),
        ("integer", " 12 ", 12),
        ("integer", "-12.00", -12),
        ("number", 12.5, 12.5),
        ("number", 12, 12.0),
        ("number", "12.5", 12.5),
        ("number", "1e3", 1000.0),
        ("boolean", False, False),
        ("boolean", "True", True),
        ("boolean", "false", False),
        ("date", "2026-03-18", date(2026, 3, 18)),
        ("moment", "2026-03-18T15:00:00+05:30", datetime(2026, 3, 18, 9, 30, tzinfo=UTC)),
        ("moment", "2026-03-18T09:30:00.1239Z", datetime(2026, 3, 18, 9, 30, 0, 123000, tzinfo=UTC)),
        ("json", {"a": [1]}, {"a": [1]}),
        ("json", "text", "text"),
        ("json", "a\ud800", "a?"),
    ],
)
def test_what_is_obviously_the_same_is_converted(kind: str, value: Any, expected: Any) -> None:
    """A value of the declared type, or one that is written as such, is its cell."""
    found, status = cell(value, kind)
    assert (found, type(found), status) == (expected, type(expected), "ok")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", {"a": 1}),
        ("text", ["a"]),
        ("text", float("nan")),
        ("integer", 12.5),
        ("integer", True),
        ("integer", "1,200"),
        ("integer", "twelve"),
        ("integer", 1 << 63),
        ("integer", "9" * 30),
        ("integer", float("inf")),
        ("number", "12,5"),
        ("number", "1_000"),
        ("number", "nan"),
        ("number", HUGE),
        ("number", "1e999"),
        ("number", False),
        ("number", "Rs 500"),
        ("boolean", 1),
        ("boolean", "yes"),
        ("date", "18.03.2026"),
        ("date", "2026-02-30"),
        ("date", "2026-03-18T00:00:00Z"),
        ("date", 20260318),
        ("date", "20260318"),
        ("date", "2026-W12-3"),
        ("moment", "2026-03-18T15:00:00"),
        ("moment", "0001-01-01T00:00:00+14:00"),
        ("moment", "tomorrow"),
        ("moment", 1773835200000),
        ("json", float("nan")),
    ],
)
def test_nothing_is_guessed(kind: str, value: Any) -> None:
    """A value of another type leaves its cell empty, and the column is named."""
    assert cell(value, kind) == (None, "invalid: x")


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_blank_is_a_value_that_is_missing(value: Any) -> None:
    """An agent that did not learn something may say so with nothing, or with blank text."""
    assert cell(value, "integer") == (None, "missing: x")


def test_a_path_leads_into_nested_results() -> None:
    """A dot goes one object deeper; where there is no object, the value is missing."""
    columns = parse_result_columns(
        {"amount": ("results.promise.amount", "number"), "a": "results.list.a", "b": "results.intent.b"}
    )
    record = a_record({"promise": {"amount": 500}, "list": [{"a": 1}], "intent": "pay"})
    assert cells_of(record, columns) == ({"amount": 500.0, "a": None, "b": None}, "missing: a, missing: b")


def test_every_fault_of_a_row_is_named() -> None:
    """In the order of the columns, and what is right stays."""
    columns = parse_result_columns(
        {"intent": "results.intent", "amount": ["results.amount", "number"], "ok": "results.ok"}
    )
    assert cells_of(a_record({"amount": "much", "ok": "yes"}), columns) == (
        {"intent": None, "amount": None, "ok": "yes"},
        "missing: intent, invalid: amount",
    )


@pytest.mark.parametrize("results", [None, {}])
def test_a_conversation_without_results_is_told_from_one_that_lacks_some(results: Any) -> None:
    """Where nobody was connected, no column is at fault."""
    columns = parse_result_columns(
        {"intent": "results.intent", "all": ("results", "json"), "why": "failure_reason"}
    )
    cells, status = cells_of(a_record(results, "busy", failure_reason="line busy"), columns)
    assert (cells["intent"], cells["why"], status) == (None, "line busy", "no_results")


def test_the_status_and_the_reason_of_a_failure_may_be_columns() -> None:
    """A record without a reason lacks nothing."""
    columns = parse_result_columns({"how": "status", "why": "failure_reason"})
    assert cells_of(a_record(), columns) == ({"how": "completed", "why": None}, "ok")


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (["results.intent"], "result_columns must be a mapping"),
        ({"x": "intent"}, r"result_columns\['x'\] must be results.<field>, status or failure_reason"),
        ({"x": "results..a"}, "must be results.<field>"),
        ({"x": "status.a"}, "must be results.<field>"),
        ({"x": "transcript"}, "must be results.<field>"),
        ({"x": "results"}, 'names all results: give it the type "json"'),
        ({"x": ("results.a", "float")}, "must have a type that is one of text, integer"),
        ({"x": ("results.a", "text", 1)}, "must be a path, or a path and a type"),
        ({"x": 5}, "must be a path, or a path and a type"),
        ({"x": ()}, "must be a path, or a path and a type"),
        ({"x": " "}, "must be a path, or a path and a type"),
        ({" x": "results.a"}, "has a name that is no text, or blank around"),
        ({5: "results.a"}, "has a name that is no text"),
    ],
)
def test_columns_that_cannot_be_are_refused(columns: Any, error: str) -> None:
    """When the DAG file is parsed, with the name of the column."""
    with pytest.raises(ValueError, match=error):
        parse_result_columns(columns)


# What JSON can hold, and a lone surrogate in its texts.
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(JSON_VALUES, st.sampled_from(KINDS))
def test_no_value_is_a_crash(value: Any, kind: Any) -> None:
    """Whatever an agent collects, a cell is of its type or empty, and the row says which."""
    found, status = cell(value, kind)
    assert (found is None) == (status != "ok")
    if isinstance(found, str | int | float):
        json.dumps(found, allow_nan=False).encode()


def test_a_column_says_what_it_is() -> None:
    """Its path as it was written, and its name in an error."""
    column = ResultColumn("amount", ("results", "promise", "amount"), "number")
    assert (column.dotted, str(column)) == ("results.promise.amount", "result_columns['amount']")

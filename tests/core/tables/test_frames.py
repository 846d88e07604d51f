"""A data frame reads as the same rows in a list do, or is refused with what to call on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from formant_provider.core.contacts.do_not_call import entries_of, read_do_not_call
from formant_provider.core.contacts.sources import contacts_of
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.tables.file_kinds import FileForm
from support.contact_tables import numbered, rows_of
from support.refusals import refusal

NUMBER, OTHER = "+14155550100", "+442079460018"
COLUMNS: dict[str, list[Any]] = {
    "customer_phone": [NUMBER, OTHER],
    "due": [29000, 5],
    "rate": [0.5, None],
    "paid": [True, False],
    "on": [date(2026, 4, 8), None],
    "at": [datetime(2026, 4, 8, 9, 30, tzinfo=UTC), None],
    "cost": [Decimal("1.50"), None],
    "note": ["a,b", None],
}
WANTED = [
    [NUMBER, "29000", "0.5", "true", "2026-04-08", "2026-04-08T09:30:00+00:00", "1.50", "a,b"],
    [OTHER, "5", "", "false", "", "", "", ""],
]


def pandas_frame(columns: dict[str, Any], **options: Any) -> Any:
    return pytest.importorskip("pandas").DataFrame(columns, **options)


def nullable(columns: dict[str, Any]) -> Any:
    return pandas_frame(columns).convert_dtypes()


def arrow_backed(columns: dict[str, Any]) -> Any:
    pytest.importorskip("pyarrow")
    return pandas_frame(columns).convert_dtypes(dtype_backend="pyarrow")


def categorical(columns: dict[str, Any]) -> Any:
    return pandas_frame(columns).astype({"customer_phone": "category", "note": "category"})


def polars_frame(columns: dict[str, Any]) -> Any:
    return pytest.importorskip("polars").DataFrame(columns)


def arrow_table(columns: dict[str, Any]) -> Any:
    return pytest.importorskip("pyarrow").table(columns)


def duckdb_relation(columns: dict[str, Any]) -> Any:
    table = arrow_table(columns)
    return pytest.importorskip("duckdb").connect().from_arrow(table)


MAKERS = [pandas_frame, nullable, arrow_backed, categorical, polars_frame, arrow_table]


@pytest.mark.parametrize("make", MAKERS)
def test_a_frame_reads_as_the_same_rows_in_a_list(make: Callable[[dict[str, Any]], Any]) -> None:
    """Whatever library and types it has; what is missing is blank."""
    contacts = contacts_of(make(COLUMNS))
    assert contacts.columns == tuple(COLUMNS)
    assert rows_of(contacts) == WANTED
    assert contacts.phone_cells.as_numbers == 0


def test_a_relation_of_duckdb_is_a_frame() -> None:
    """It hands out Arrow, as other libraries do."""
    assert rows_of(contacts_of(duckdb_relation({"customer_phone": [NUMBER], "due": [5]}))) == [[NUMBER, "5"]]


@pytest.mark.parametrize("make", [pandas_frame, polars_frame, arrow_table])
def test_a_long_frame_is_read_to_its_end(make: Callable[[dict[str, Any]], Any]) -> None:
    """Rows are counted from 1, block by block."""
    contacts = contacts_of(make({"customer_phone": [NUMBER] * 1234, "n": list(range(1234))}))
    assert [(number, row[1]) for _, number, row in numbered(contacts)] == [
        (place + 1, str(place)) for place in range(1234)
    ]


@pytest.mark.parametrize("make", [pandas_frame, polars_frame, arrow_table])
def test_a_frame_without_rows_has_no_contacts(make: Callable[[dict[str, Any]], Any]) -> None:
    """Its columns are there."""
    contacts = contacts_of(make({"customer_phone": [], "n": []}))
    assert (contacts.columns, rows_of(contacts)) == (("customer_phone", "n"), [])


@pytest.mark.parametrize("make", [pandas_frame, nullable, polars_frame, arrow_table])
def test_integers_are_counted_as_numbers(make: Callable[[dict[str, Any]], Any]) -> None:
    """A column of integers has lost its plus signs."""
    contacts = contacts_of(make({"customer_phone": [14155550100, 442079460018]}))
    assert rows_of(contacts) == [["14155550100"], ["442079460018"]]
    assert contacts.phone_cells.as_numbers == 2


@pytest.mark.parametrize("make", [pandas_frame, polars_frame, arrow_table])
def test_whole_floats_are_read_where_it_is_said_what_they_are(make: Callable[[dict[str, Any]], Any]) -> None:
    """One missing number makes a column of floats in pandas; nobody knows what else it has lost."""
    frame = make({"customer_phone": [14155550100.0, None]})
    assert "say numbers=" in refusal(lambda: rows_of(contacts_of(frame)))
    assert rows_of(contacts_of(frame, numbers="e164_without_plus")) == [["14155550100"], [""]]
    odd = make({"customer_phone": [14155550100.5]})
    assert "row 1" in refusal(lambda: rows_of(contacts_of(odd, numbers="e164_without_plus")))


def short(library: str, name: str, **more: Any) -> Any:
    """A column of floats of 32 bits, and others."""
    if library == "polars":
        polars = pytest.importorskip("polars")
        return polars.DataFrame({name: [0.1], **more}, schema_overrides={name: polars.Float32})
    if library == "pyarrow":
        arrow = pytest.importorskip("pyarrow")
        return arrow.table({name: arrow.array([0.1], arrow.float32()), **more})
    return pandas_frame({name: [0.1], **more}).astype({name: library})


@pytest.mark.parametrize("library", ["float32", "Float32", "float[pyarrow]", "polars", "pyarrow"])
def test_short_floats_have_no_more_digits_than_they_hold(library: str) -> None:
    """A variable is 0.1, and a number to call is refused: its last digits are gone."""
    pytest.importorskip("pyarrow")
    rows = rows_of(contacts_of(short(library, "x", customer_phone=[NUMBER])))
    assert rows == [["0.1", NUMBER]]
    frame = short(library, "customer_phone")
    assert "short floats" in refusal(lambda: contacts_of(frame, numbers="e164_without_plus"))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_nanoseconds_are_refused_and_never_cut_off(library: str) -> None:
    """The agent has no word for them, and rounding is for the DAG to say."""
    if library == "pandas":
        pandas = pytest.importorskip("pandas")
        frame = pandas_frame({"customer_phone": [NUMBER], "at": [pandas.Timestamp(2026, 1, 2, nanosecond=1)]})
    else:
        arrow = pytest.importorskip("pyarrow")
        frame = arrow.table({"customer_phone": [NUMBER], "at": arrow.array([1], arrow.timestamp("ns"))})
        if library == "polars":
            frame = pytest.importorskip("polars").from_arrow(frame)
    assert "nanoseconds" in refusal(lambda: rows_of(contacts_of(frame)))


def test_a_frame_of_the_wrong_kind_is_refused_with_what_to_call() -> None:
    """A plan of polars holds no rows yet."""
    polars = pytest.importorskip("polars")
    lazy = polars.LazyFrame({"customer_phone": [NUMBER]})
    assert "call .collect() on it" in refusal(lambda: contacts_of(lazy))
    assert "call .collect() on it" in refusal(lambda: entries_of(lazy), "suppress")


def test_numbers_in_the_index_are_refused_with_what_to_call() -> None:
    """What groupby leaves has its key in the index; another index is no column."""
    frame = pandas_frame({"customer_phone": [NUMBER], "n": [1]}).set_index("customer_phone")
    assert "call .reset_index() on it" in refusal(lambda: contacts_of(frame))
    assert rows_of(contacts_of(frame.reset_index())) == [[NUMBER, "1"]]
    indexed = pandas_frame({"customer_phone": [NUMBER], "id": [7]}).set_index("id")
    assert rows_of(contacts_of(indexed)) == [[NUMBER]]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"phone": [NUMBER]}, "if column 'phone' holds the numbers, say phone_column='phone'"),
        ({"customer_phone": [NUMBER], 5: [1]}, "the names of variables must be text"),
        ({"customer_phone": [NUMBER], "x": [[1, 2]]}, "row 1, column x: must be text"),
        ({"customer_phone": [NUMBER], " x": [1], "x": [2]}, "column 3 has the same name as column 2"),
    ],
)
def test_a_frame_that_cannot_be_read_for_sure_is_refused(columns: dict[Any, Any], told: str) -> None:
    """As the same rows in a list are."""
    assert told in refusal(lambda: rows_of(contacts_of(pandas_frame(columns))))


@pytest.mark.parametrize("make", [pandas_frame, polars_frame, arrow_table])
def test_a_do_not_call_list_may_be_a_frame_or_a_column_of_one(make: Callable[[dict[str, Any]], Any]) -> None:
    """It has the column of the contacts, or a single one, or is that column itself."""
    frame = make({"customer_phone": [NUMBER, OTHER], "since": [1, 2]})
    single = make({"Telefon": [NUMBER, OTHER]})
    named = make({"Telefon": [NUMBER, OTHER], "since": [1, 2]})
    for entries in (
        entries_of(frame), entries_of(single), entries_of(frame["customer_phone"]),
        entries_of(named, FileForm(phone_column="Telefon")),
    ):  # fmt: skip
        assert len(read_do_not_call(entries, NumberReader())) == 2
    assert "has 2 columns" in refusal(lambda: list(entries_of(named)), "suppress")

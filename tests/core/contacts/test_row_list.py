"""The list beside a report knows what became of each row, whatever is in it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.core.contacts.cleaning import clean_contacts
from formant_provider.core.contacts.row_list import CarriedColumns, ListedRow, RowList, read_row_list
from formant_provider.core.contacts.sources import Contacts, RowBlock
from support.contact_tables import read

HEADER = ("loan", "customer_phone", "note")
FIRST, SECOND = "+14155550100", "+14155550101"
CARRIED = CarriedColumns("loan", ["note"])


def listed(contacts: Contacts, carried: CarriedColumns = CARRIED, **options: Any) -> list[ListedRow]:
    """Check contacts, and read back what became of them."""
    file = io.BytesIO()
    clean_contacts(contacts, io.BytesIO(), row_list=file, carried=carried, invalid_rows="reject", **options)
    return list(read_row_list(file.getvalue().splitlines(keepends=True)))


def blocks(*rows: Sequence[Any]) -> Contacts:
    """Contacts in several parts: each block begins at a row number of its own."""
    return Contacts(HEADER, iter([RowBlock(first, list(cells), part) for part, first, cells in rows]))


def test_each_row_is_in_the_list_once_and_in_its_place() -> None:
    """Called or left out, for whatever reason, in the order of the file; blank rows are none."""
    lines = [
        ",".join(HEADER), f"L-1,{FIRST},a", "L-2,,b", "", f"L-3,{SECOND},c", ",,", f"L-4,{FIRST},d",
        "L-5,4155550100,e", "L-6,+14155550109,f", f"L-7,{SECOND}", "L-8,+14155550103, ", "L-9,+14155550104,g",
    ]  # fmt: skip
    rows = listed(read("\r\n".join(lines)), suppress=["+14155550109"], required_variables=["note"])
    assert [(row.row_number, row.reason, row.number, row.carried["reference"]) for row in rows] == [
        (2, None, FIRST, "L-1"),
        (3, "no_number", "", "L-2"),
        (5, None, SECOND, "L-3"),
        (7, "duplicate", FIRST, "L-4"),
        (8, "not_e164", "4155550100", "L-5"),
        (9, "suppressed", "+14155550109", "L-6"),
        (10, "wrong_width", None, None),
        (11, "blank_variable", "+14155550103", "L-8"),
        (12, None, "+14155550104", "L-9"),
    ]


def test_a_row_of_another_width_shows_none_of_its_cells() -> None:
    """A cell that is missing moves the others, so that a number would be where a name should be."""
    rows = listed(read(f"{','.join(HEADER)}\r\n{FIRST},a\r\nL-1,x,{FIRST},y\r\n"))
    assert [(row.number, row.carried) for row in rows] == [(None, {"reference": None, "note": None})] * 2


def test_rows_of_several_files_know_their_file() -> None:
    """Their numbers begin anew in each, and are no key without it."""
    rows = listed(
        blocks(("a.csv", 2, [["L-1", FIRST, ""]]), ("b.csv", 2, [["L-2", FIRST, ""], ["L-3", SECOND, ""]]))
    )
    assert [(row.part, row.row_number, row.reason) for row in rows] == [
        ("a.csv", 2, None), ("b.csv", 2, "duplicate"), ("b.csv", 3, None),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ['"x",\n\r\n=1+1', "हाँ \U0001f600 \u2028", "[1, 2]", "x" * 200_000, "null"])
def test_what_is_carried_comes_back_as_it_was(text: str) -> None:
    """Line ends, quotes, long cells and other scripts."""
    (row,) = listed(blocks((None, 1, [["L-1", FIRST, text]])))
    assert row.carried == {"reference": "L-1", "note": text}


def test_the_number_is_that_which_is_called() -> None:
    """In its one spelling, as the API has it."""
    (row,) = listed(blocks((None, 1, [["", "14155550132", ""]])), numbers="e164_without_plus")
    assert row.number == "+14155550132"


def test_one_column_may_be_reference_and_kept() -> None:
    """Under both names."""
    (row,) = listed(blocks((None, 1, [["L-1", FIRST, ""]])), CarriedColumns("loan", ["loan"]))
    assert row.carried == {"reference": "L-1", "loan": "L-1"}


@pytest.mark.parametrize(
    ("carried", "told"),
    [
        (CarriedColumns("lone"), "reference_column: the contacts have no column lone"),
        (CarriedColumns(None, ["loan", "Note"]), "keep_columns: the contacts have no column Note"),
    ],
    ids=["reference", "kept"],
)
def test_a_column_that_is_not_there_is_refused(carried: CarriedColumns, told: str) -> None:
    """Also where nobody keeps a list, for it is a mistake in any case."""
    contacts, sink = blocks((None, 1, [["L-1", FIRST, ""]])), io.BytesIO()
    with pytest.raises(InvalidInput, match=told):
        clean_contacts(contacts, sink, carried=carried)
    assert sink.getvalue() == b""


def test_many_rows_are_in_their_order() -> None:
    """Over the bounds of blocks, with a fault here and there."""
    size = 5000
    rows = (f"L-{n},{'x' if n % 7 == 0 else f'+1415{5550000 + n}'},\n" for n in range(size))
    found = listed(read(",".join(HEADER) + "\n" + "".join(rows)))
    assert [row.row_number for row in found] == list(range(2, size + 2))
    assert [row.carried["reference"] for row in found] == [f"L-{n}" for n in range(size)]
    assert all((row.reason is None) is (n % 7 != 0) for n, row in enumerate(found))


def test_a_list_that_nobody_keeps_costs_nothing() -> None:
    """Without a report there is none."""
    rows = RowList(None, HEADER, CARRIED)
    rows.write(None, [1], [["L-1"], [FIRST], [""]], [])

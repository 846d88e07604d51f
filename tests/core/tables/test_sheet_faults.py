"""A cell with an error, or a formula without its result, is refused in every spelling of a workbook.

Read as blank, one in a do-not-call list is somebody who is called.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from formant_provider.core.contacts.do_not_call import open_numbers, read_do_not_call
from formant_provider.core.numbers.bulk import NumberReader
from support.contact_tables import opendocument, read, rewritten, rows_of, workbook
from support.refusals import refusal

pytest.importorskip("openpyxl")
pytest.importorskip("python_calamine")

FILES = Path(__file__).parents[2] / "files" / "workbooks"
NUMBER = "+14155550120"
Change: TypeAlias = Callable[[bytes], bytes]
FORMULA = '="+1"&"4155550121"'
MAIN = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def sheet(*rows: list[object]) -> bytes:
    return workbook({"Sheet": rows})


def refused_contacts(content: bytes) -> str:
    return refusal(lambda: rows_of(read(content)))


def refused_list(content: bytes) -> str:
    """Return why a do-not-call list is refused, and so why nobody is called."""
    return refusal(lambda: read_do_not_call(open_numbers(io.BytesIO(content)), NumberReader()), "suppress")


def without(pattern: bytes, put: bytes = b"", members: str = "worksheets/sheet") -> Change:
    """Return what replaces a pattern in the XML of a workbook."""
    return lambda content: rewritten(content, lambda xml: re.sub(pattern, put, xml), members)


def strict(content: bytes) -> bytes:
    content = without(MAIN, b"http://purl.oclc.org/ooxml/spreadsheetml/main", "")(content)
    return without(RELATIONS, b"http://purl.oclc.org/ooxml/officeDocument/relationships", "")(content)


def prefixed(content: bytes) -> bytes:
    return without(rb"<(/?)(?=[a-zA-Z])", rb"<\1x:")(without(b'xmlns="', b'xmlns:x="')(content))


SPELLINGS: dict[str, Change] = {
    "plain": lambda content: content,
    "strict": strict,
    "prefixed": prefixed,
    "without places": without(rb' r="[A-Z]+[0-9]+"'),
    "without any places": without(rb' r="[A-Z]*[0-9]+"'),
    "single quotes": without(rb'="([^"\']*)"', rb"='\1'"),
    "spaced": without(rb't="e"', b't = "e"\n'),
}
RESULTS = {
    "an empty one, as openpyxl writes with lxml": without(rb"<v ?/>", b"<v></v>"),
    "none": without(rb"<v ?/>"),
    "none, and marked as text": without(rb'(r="A3")(><f>.*?</f>)<v ?/>', rb'\1 t="str"\2'),
    "0 to be calculated on loading, as XlsxWriter writes": without(rb"<v ?/>", b"<v>0</v>"),
}


@pytest.mark.parametrize("spelling", (both := SPELLINGS | RESULTS).values(), ids=both)
def test_a_formula_without_its_result_is_refused_in_every_spelling(spelling: Change) -> None:
    """Contacts and a do-not-call list are refused by row and column."""
    content = spelling(sheet(["customer_phone", "n"], [NUMBER, "a"], [FORMULA, "b"], [NUMBER, "c"]))
    told = "row 3, column customer_phone: holds a formula without its result"
    assert told in refused_contacts(content)
    assert told in refused_list(content)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_an_error_is_refused_in_every_spelling(spelling: Change) -> None:
    """Contacts and a do-not-call list are refused by row and column."""
    content = spelling(sheet(["customer_phone", "n"], [NUMBER, "a"], ["#N/A", "b"], [NUMBER, "c"]))
    told = "row 3, column customer_phone: holds an error of the spreadsheet"
    assert told in refused_contacts(content)
    assert told in refused_list(content)


@pytest.mark.parametrize("fault", [FORMULA, "#N/A"])
def test_a_fault_below_the_last_value_is_refused(fault: str) -> None:
    """Rows that hold nothing else are not among those that are read; they are people all the same."""
    content = sheet(["customer_phone"], [NUMBER], [], [fault])
    assert "row 4, column customer_phone: holds" in refused_contacts(content)
    assert "row 4, column customer_phone: holds" in refused_list(content)


@pytest.mark.parametrize("rows", [[[FORMULA], [NUMBER]], [["#N/A"], ["customer_phone"], [NUMBER]]])
def test_a_fault_in_the_header_or_above_it_is_refused(rows: list[list[object]]) -> None:
    """Else the next row would be the header, and its number nobody's."""
    assert "row 1, column 1: holds" in refused_list(sheet(*rows))
    assert "row 1, column 1: holds" in refused_contacts(sheet(*rows))


def test_a_column_of_faults_alone_is_a_column() -> None:
    """It has no name, and what is in it is not passed over."""
    content = sheet(["customer_phone"], [NUMBER, FORMULA])
    assert "column 2 has no name" in refused_contacts(content)
    unnamed = sheet(["number"], [NUMBER, FORMULA])
    assert "has 2 columns" in refused_list(unnamed)


def test_a_fault_in_another_column_of_a_do_not_call_list_is_no_matter() -> None:
    """Only the numbers of it are read."""
    content = sheet(["customer_phone", "note"], [NUMBER, "#N/A"])
    assert list(open_numbers(io.BytesIO(content))) == [NUMBER]


def test_a_sheet_that_is_long_is_looked_at_as_a_whole() -> None:
    """The sheet is searched a block at a time, and the fault is at its end."""
    content = sheet(["customer_phone", "n"], *([NUMBER, "x" * 500] for _ in range(4000)), [FORMULA, "b"])
    assert "row 4002, column customer_phone: holds a formula" in refused_list(content)


def test_a_workbook_that_declares_entities_is_refused() -> None:
    """None does, and such a declaration can fill the memory."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    content = rewritten(sheet(["customer_phone"], [FORMULA]), lambda xml: bomb + xml)
    assert "is damaged, or a workbook that cannot be read" in refused_contacts(content)


def test_an_error_of_opendocument_is_refused() -> None:
    """LibreOffice has written it, with an empty text for a value, and the error beside it."""
    content = (FILES / "error.ods").read_bytes()
    assert "row 2, column customer_phone: holds an error" in refused_contacts(content)
    assert "row 2, column customer_phone: holds an error" in refused_list(content)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ('table:formula="of:=NA()" office:value-type="float" office:value="0"><text:p>#N/A', "an error"),
        ('table:formula="of:=A" office:value-type="string"><text:p>Err:502', "an error"),
        ('table:formula="of:=1+1"><text:p>', "a formula without its result"),
        ('table:formula="of:=1+1" office:value-type="float"><text:p>', "a formula without its result"),
    ],
)
def test_opendocument_of_other_programs_is_refused_as_well(cell: str, told: str) -> None:
    """Not all mark an error as one. Rows and cells that are alike are written once, and count."""
    text = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    faulty = f"<table:table-cell {cell}</text:p></table:table-cell>"
    content = opendocument(
        f'<table:table-cell table:number-columns-repeated="2"/>{text.format("customer_phone")}',
        text.format("") * 2 + text.format(NUMBER),
        f'<table:table-cell table:number-columns-repeated="2"/>{faulty}',
        text.format("") * 2 + text.format(NUMBER),
        repeated=[1],
    )
    assert f"row 5, column customer_phone: holds {told}" in refused_list(content)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("error.xls", "row 2, column customer_phone"),
        ("error-last.xls", "row 3, column customer_phone"),
        ("error-first.xls", "row 1, column 1"),
    ],
)
def test_a_blank_entry_of_a_binary_workbook_is_refused(name: str, place: str) -> None:
    """Such a format does not show whether the cell holds an error, and that would be somebody."""
    told = refused_list((FILES / name).read_bytes())
    assert f"{place}: is blank, and a workbook of this format does not show" in told


@pytest.mark.parametrize("first", [NUMBER, int(NUMBER[1:])])
def test_a_do_not_call_list_without_a_header_has_its_first_number(first: object) -> None:
    """What would be the name of the column is a number, as in a CSV file, and somebody's."""
    entries = list(open_numbers(io.BytesIO(sheet([first], ["+442079460018"]))))
    assert entries == [str(first), "+442079460018"]

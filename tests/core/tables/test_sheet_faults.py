"""A cell with an error, or a formula without its result, is refused in every spelling of a workbook.

Read as blank, one in a do-not-call list is somebody who is called.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from formant_provider.core.contacts.do_not_call import open_numbers, read_do_not_call
from formant_provider.core.contacts.sources import open_contacts
from formant_provider.core.numbers.bulk import NumberReader
from support.refusals import refusal

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("python_calamine")

FILES = Path(__file__).parents[2] / "files" / "workbooks"
NUMBER = "+14155550120"
FORMULA = '="+1"&"4155550121"'
MAIN = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def workbook(*rows: list[object]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def rewritten(content: bytes, change: Callable[[bytes], bytes], members: str = "worksheets/sheet") -> bytes:
    """Spell the XML of a workbook in another way."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(file, "w") as other:
        for name in archive.namelist():
            text = archive.read(name)
            other.writestr(name, change(text) if members in name else text)
    return file.getvalue()


def refused_contacts(content: bytes) -> str:
    return refusal(lambda: list(open_contacts(io.BytesIO(content)).blocks))


def refused_list(content: bytes) -> str:
    """Return why a do-not-call list is refused, and so why nobody is called."""
    return refusal(lambda: read_do_not_call(open_numbers(io.BytesIO(content)), NumberReader()), "suppress")


def plain(content: bytes) -> bytes:
    return content


def empty_result(content: bytes) -> bytes:
    """As openpyxl writes it with lxml."""
    return rewritten(content, lambda xml: re.sub(rb"<v ?/>", b"<v></v>", xml))


def no_result(content: bytes) -> bytes:
    return rewritten(content, lambda xml: re.sub(rb"<v ?/>", b"", xml))


def text_without_result(content: bytes) -> bytes:
    return rewritten(content, lambda xml: re.sub(rb'(r="A3")(><f>.*?</f>)<v ?/>', rb'\1 t="str"\2', xml))


def zero_to_be_calculated(content: bytes) -> bytes:
    """As XlsxWriter writes it: with the result 0, and a word to calculate everything on loading."""
    return rewritten(content, lambda xml: re.sub(rb"<v ?/>", b"<v>0</v>", xml))


def strict(content: bytes) -> bytes:
    def change(xml: bytes) -> bytes:
        xml = xml.replace(MAIN, b"http://purl.oclc.org/ooxml/spreadsheetml/main")
        return xml.replace(RELATIONS, b"http://purl.oclc.org/ooxml/officeDocument/relationships")

    return rewritten(content, change, "")


def prefixed(content: bytes) -> bytes:
    def change(xml: bytes) -> bytes:
        return re.sub(rb"<(/?)(?=[a-zA-Z])", rb"<\1x:", xml.replace(b'xmlns="', b'xmlns:x="'))

    return rewritten(content, change)


def without_places(content: bytes) -> bytes:
    return rewritten(content, lambda xml: re.sub(rb' r="[A-Z]+[0-9]+"', b"", xml))


def without_any_places(content: bytes) -> bytes:
    return rewritten(content, lambda xml: re.sub(rb' r="[A-Z]*[0-9]+"', b"", xml))


def single_quotes(content: bytes) -> bytes:
    return rewritten(content, lambda xml: re.sub(rb'="([^"\']*)"', rb"='\1'", xml))


def spaced(content: bytes) -> bytes:
    return rewritten(content, lambda xml: re.sub(rb't="e"', b't = "e"\n', xml))


SPELLINGS = (plain, strict, prefixed, without_places, without_any_places, single_quotes, spaced)
RESULTS = (empty_result, no_result, text_without_result, zero_to_be_calculated)


@pytest.mark.parametrize("spelling", [*SPELLINGS, *RESULTS])
def test_a_formula_without_its_result_is_refused_in_every_spelling(
    spelling: Callable[[bytes], bytes],
) -> None:
    """Contacts and a do-not-call list are refused by row and column."""
    content = spelling(workbook(["customer_phone", "n"], [NUMBER, "a"], [FORMULA, "b"], [NUMBER, "c"]))
    told = "row 3, column customer_phone: holds a formula without its result"
    assert told in refused_contacts(content)
    assert told in refused_list(content)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_error_is_refused_in_every_spelling(spelling: Callable[[bytes], bytes]) -> None:
    """Contacts and a do-not-call list are refused by row and column."""
    content = spelling(workbook(["customer_phone", "n"], [NUMBER, "a"], ["#N/A", "b"], [NUMBER, "c"]))
    told = "row 3, column customer_phone: holds an error of the spreadsheet"
    assert told in refused_contacts(content)
    assert told in refused_list(content)


@pytest.mark.parametrize("fault", [FORMULA, "#N/A"])
def test_a_fault_below_the_last_value_is_refused(fault: str) -> None:
    """Rows that hold nothing else are not among those that are read; they are people all the same."""
    content = workbook(["customer_phone"], [NUMBER], [], [fault])
    assert "row 4, column customer_phone: holds" in refused_contacts(content)
    assert "row 4, column customer_phone: holds" in refused_list(content)


@pytest.mark.parametrize("rows", [[[FORMULA], [NUMBER]], [["#N/A"], ["customer_phone"], [NUMBER]]])
def test_a_fault_in_the_header_or_above_it_is_refused(rows: list[list[object]]) -> None:
    """Else the next row would be the header, and its number nobody's."""
    assert "row 1, column 1: holds" in refused_list(workbook(*rows))
    assert "row 1, column 1: holds" in refused_contacts(workbook(*rows))


def test_a_column_of_faults_alone_is_a_column() -> None:
    """It has no name, and what is in it is not passed over."""
    content = workbook(["customer_phone"], [NUMBER, FORMULA])
    assert "column 2 has no name" in refused_contacts(content)
    unnamed = workbook(["number"], [NUMBER, FORMULA])
    assert "has 2 columns" in refused_list(unnamed)


def test_a_fault_in_another_column_of_a_do_not_call_list_is_no_matter() -> None:
    """Only the numbers of it are read."""
    content = workbook(["customer_phone", "note"], [NUMBER, "#N/A"])
    assert list(open_numbers(io.BytesIO(content))) == [NUMBER]


def test_a_sheet_that_is_long_is_looked_at_as_a_whole() -> None:
    """The sheet is searched a block at a time, and the fault is at its end."""
    content = workbook(["customer_phone", "n"], *([NUMBER, "x" * 500] for _ in range(4000)), [FORMULA, "b"])
    assert "row 4002, column customer_phone: holds a formula" in refused_list(content)


def test_a_workbook_that_declares_entities_is_refused() -> None:
    """None does, and such a declaration can fill the memory."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    content = rewritten(workbook(["customer_phone"], [FORMULA]), lambda xml: bomb + xml)
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
    )
    assert f"row 5, column customer_phone: holds {told}" in refused_list(content)


def opendocument(*rows: str) -> bytes:
    """Write rows as a sheet of OpenDocument, the second one three times."""
    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    repeated = [' table:number-rows-repeated="3"' if place == 1 else "" for place in range(len(rows))]
    body = "".join(
        f"<table:table-row{r}>{row}</table:table-row>" for r, row in zip(repeated, rows, strict=True)
    )
    content = (
        f'<office:document-content{spaces}><office:body><office:spreadsheet><table:table table:name="S">'
        f"{body}</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    return file.getvalue()


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
    entries = list(open_numbers(io.BytesIO(workbook([first], ["+442079460018"]))))
    assert entries == [str(first), "+442079460018"]

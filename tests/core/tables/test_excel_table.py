"""A workbook is read as its spreadsheet shows it, or refused with what to do."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import pytest

from formant_provider.core.contacts.do_not_call import open_numbers
from formant_provider.core.contacts.sources import Contacts, open_contacts
from formant_provider.core.tables.file_kinds import FileForm
from support.refusals import refusal

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("python_calamine")

NUMBER, OTHER = "+14155550100", "+442079460018"
Sheets = dict[str, Sequence[Sequence[Any]]]


def workbook(sheets: Sheets, change: Callable[[Any], None] = lambda _: None) -> bytes:
    """Write sheets of rows as .xlsx."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    change(book)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def rows_of(contacts: Contacts) -> list[list[str]]:
    return [row for block in contacts.blocks for row in block.rows]


def read(content: bytes, **options: Any) -> Contacts:
    return open_contacts(io.BytesIO(content), **options)


def test_the_first_sheet_is_read_with_its_values() -> None:
    """Text stays as it is, with its plus sign and its zeros; other values are written as those of a call."""
    header = ["customer_phone", "name", "due", "rate", "on", "at", "paid", "blank"]
    row = [NUMBER, "007", 29000, 0.5, date(2026, 4, 8), datetime(2026, 4, 8, 9, 30), True, None]
    contacts = read(workbook({"March": [header, row], "April": [["x"]]}))
    assert contacts.columns == tuple(header)
    assert rows_of(contacts) == [
        [NUMBER, "007", "29000", "0.5", "2026-04-08", "2026-04-08T09:30:00", "true", ""]
    ]
    assert contacts.phone_cells.as_numbers == 0


def test_numbers_that_are_numbers_are_read_as_integers_and_counted() -> None:
    """A cell with a number has lost its plus sign; its digits are for the rules, and the count is told."""
    contacts = read(workbook({"S": [["customer_phone"], [14155550100], [NUMBER], [4155550100.0]]}))
    assert rows_of(contacts) == [["14155550100"], [NUMBER], ["4155550100"]]
    assert contacts.phone_cells.as_numbers == 2


def test_rows_are_counted_as_the_spreadsheet_counts() -> None:
    """Blank rows and columns before the header are passed over, and count."""
    contacts = read(workbook({"S": [[], [], [None, "customer_phone", "n"], [], [None, NUMBER, "a"]]}))
    assert contacts.columns == ("customer_phone", "n")
    (block,) = contacts.blocks
    assert (block.first_row, block.rows) == (4, [["", ""], [NUMBER, "a"]])


def test_a_sheet_is_chosen_by_its_name() -> None:
    """sheet= takes another sheet, also a hidden one; the first that is not hidden is the default."""

    def hide(book: Any) -> None:
        book["Old"].sheet_state = "hidden"

    content = workbook({"Old": [["customer_phone"], [OTHER]], "New": [["customer_phone"], [NUMBER]]}, hide)
    assert rows_of(read(content)) == [[NUMBER]]
    assert rows_of(read(content, sheet="Old")) == [[OTHER]]


def test_a_sheet_that_is_not_there_is_refused() -> None:
    """The error has the names of those that are."""
    told = refusal(lambda: read(workbook({"March": [["customer_phone"]]}), sheet="Mach"), "sheet")
    assert told == "the workbook has no such sheet; it has 'March'"


def test_a_sheet_of_what_is_no_workbook_is_refused() -> None:
    """The wrong file was given, or the option is left over."""
    assert "no workbook" in refusal(lambda: read(b"customer_phone\n", sheet="March"), "sheet")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "sheet 'S' is empty"),
        ([["Batch call of March"], ["customer_phone"]], "has no column customer_phone, or no header at all"),
        ([["customer_phone", "a", "a"]], "column 3 has the same name as column 2"),
        ([["customer_phone", None], [NUMBER, "Rahul"]], "column 2 has no name"),
        ([[None, "customer_phone"], [0, NUMBER]], "leave it out with index=False"),
        ([["customer_phone"], [NUMBER], [date(2026, 1, 1)]], "row 3, column customer_phone: must be text"),
        ([["customer_phone"], [4155550100.5]], "row 2, column customer_phone: is a decimal"),
        ([["customer_phone", "due"], [NUMBER, "=1+1"]], "row 2, column due: holds a formula without its"),
        ([["customer_phone", "due"], [NUMBER, 1], [NUMBER, "#N/A"]], "row 3, column due: holds an error"),
        ([["customer_phone", "due now"], [NUMBER, "#REF!"]], "row 2, column 2: holds an error"),
    ],
)
def test_a_sheet_that_cannot_be_read_for_sure_is_refused(rows: Sequence[Sequence[Any]], told: str) -> None:
    """The refusal says where and what, and shows nothing of a cell."""
    assert told in refusal(lambda: rows_of(read(workbook({"S": rows}))))


def test_formulas_with_results_are_their_results() -> None:
    """What the spreadsheet shows is read; a result that is empty text is blank."""
    content = workbook({"S": [["customer_phone", "due", "note"], [NUMBER, "=1+1", '=""']]})
    content = changed(content, b"<f>1+1</f><v />", b"<f>1+1</f><v>2</v>")
    content = changed(content, b'<c r="C2">', b'<c r="C2" t="str">')
    assert rows_of(read(content)) == [[NUMBER, "2", ""]]


def changed(content: bytes, old: bytes, new: bytes) -> bytes:
    """Change the XML of the first sheet of a workbook."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(file, "w") as other:
        for name in archive.namelist():
            text = archive.read(name)
            if name == "xl/worksheets/sheet1.xml":
                assert old in text
                text = text.replace(old, new)
            other.writestr(name, text)
    return file.getvalue()


def with_password() -> bytes:
    """The container that Excel writes a workbook with a password into, as far as it tells."""
    return (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "EncryptedPackage".encode("utf-16-le") + bytes(480)
    )


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zipped(contacts_csv=b"customer_phone\n"), "is a zip archive and no workbook; unpack it"),
        (zipped(Index__Document_iwa=b"x"), "is a document of Numbers"),
        (workbook({"S": [["customer_phone"], [NUMBER]]})[:-40], "damaged or cut off"),
        (with_password(), "is a workbook with a password; save it without one"),
        (zipped(content_xml=b"x", **{"META-INF__manifest_xml": b"<m:encryption-data/>"}), "with a password"),
        (zipped(xl__workbook_xml=b"<x/>"), "is damaged, or a workbook that cannot be read"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "is damaged, or a workbook that cannot be read"),
        (b"<html><table><tr><td>customer_phone", "save it as .xlsx or CSV"),
        (b'[{"customer_phone": "x"}]', "is JSON"),
        (b"Obj\x01\x04", "is Avro"),
        (b"\xfd7zXZ\0\0", "compressed with xz"),
    ],
)
def test_what_is_no_table_is_refused_by_its_kind(content: bytes, told: str) -> None:
    """Whatever the name of the file, its content tells what it is, and the refusal what to do."""
    assert told in refusal(lambda: rows_of(read(content)))


def test_a_do_not_call_list_may_be_a_workbook() -> None:
    """Of several sheets none is taken by its place: the others may hold numbers as well."""
    one: Sheets = {"List": [["number", "x"][:1], [NUMBER], [OTHER]]}
    assert list(open_numbers(io.BytesIO(workbook(one)))) == [NUMBER, OTHER]
    several = workbook({**one, "Older": [["number"], [OTHER]]})
    assert "has several sheets" in refusal(lambda: open_numbers(io.BytesIO(several)), "suppress")
    assert list(open_numbers(io.BytesIO(several), FileForm(sheet="Older"))) == [OTHER]


def test_a_header_may_be_a_number() -> None:
    """It is named by its digits."""
    assert read(workbook({"S": [["customer_phone", 2026], [NUMBER, "x"]]})).columns == (
        "customer_phone",
        "2026",
    )


ODS_CELL = '<table:table-cell office:value-type="{kind}" {value}><text:p>{text}</text:p></table:table-cell>'


def opendocument(*rows: str) -> bytes:
    """Write rows of cells as a spreadsheet of OpenDocument."""
    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    body = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
    content = (
        f"<office:document-content{spaces}><office:body><office:spreadsheet>"
        f'<table:table table:name="S">{body}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", manifest)
    return file.getvalue()


def ods_text(text: str) -> str:
    return ODS_CELL.format(kind="string", value="", text=text)


def test_opendocument_is_known_by_its_content() -> None:
    """A sheet of OpenDocument reads as one of Excel; what it has for an error is refused as well."""
    number = ODS_CELL.format(kind="float", value='office:value="14155550100"', text="14155550100")
    content = opendocument(ods_text("customer_phone"), ods_text(NUMBER), number)
    contacts = read(content)
    assert rows_of(contacts) == [[NUMBER], ["14155550100"]]
    assert contacts.phone_cells.as_numbers == 1
    faulty = opendocument(ods_text("customer_phone"), ods_text("#N/A"))
    assert "row 2, column customer_phone: holds #N/A" in refusal(lambda: rows_of(read(faulty)))

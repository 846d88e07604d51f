"""Tables of contacts as tests write and read them: CSV, workbooks, frames, and what is made of them."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from formant_provider.core.contacts.cleaning import clean_contacts
from formant_provider.core.contacts.report import ContactReport
from formant_provider.core.contacts.sources import Contacts, contacts_of, open_contacts
from formant_provider.core.numbers.reading import Numbers
from formant_provider.core.tables.file_kinds import FileForm


def read(content: bytes | str, *, numbers: Numbers | None = None, **form: Any) -> Contacts:
    """Open what is in a file; the other options are those of its form."""
    raw = content if isinstance(content, bytes) else content.encode()
    return open_contacts(io.BytesIO(raw), FileForm(**form), numbers=numbers)


def rows_of(contacts: Contacts) -> list[list[str]]:
    return [row for _, _, row in numbered(contacts)]


def numbered(contacts: Contacts) -> list[tuple[str | None, int, list[str]]]:
    """Each row, behind the name of its part and its number."""
    return [
        (block.part, number, row)
        for block in contacts.blocks
        for number, row in enumerate(block.rows, block.first_row)
    ]


def table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def clean(source: Any, **options: Any) -> tuple[ContactReport, list[list[str]], list[list[str]]]:
    """Clean contacts, CSV text, or rows; return the report and both files, read with the csv module."""
    if isinstance(source, str):
        source = read(source)
    contacts = source if isinstance(source, Contacts) else contacts_of(source)
    sink, rejects = io.BytesIO(), io.BytesIO()
    report = clean_contacts(contacts, sink, rejects=rejects, **{"invalid_rows": "reject", **options})
    return report, table(sink.getvalue()), table(rejects.getvalue())


def numbers(*texts: str) -> list[dict[str, str]]:
    """Rows of a number each."""
    return [{"customer_phone": text} for text in texts]


def workbook(
    sheets: dict[str, Sequence[Sequence[Any]]], change: Callable[[Any], None] | None = None
) -> bytes:
    """Write sheets of rows as .xlsx."""
    book = pytest.importorskip("openpyxl").Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    if change is not None:
        change(book)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def rewritten(content: bytes, change: Callable[[bytes], bytes], members: str = "worksheets/sheet") -> bytes:
    """Spell the XML of a workbook in another way."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}
    return zipped({name: change(text) if members in name else text for name, text in texts.items()})


def zipped(files: dict[str, bytes | str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return file.getvalue()


def opendocument(*rows: str, repeated: Sequence[int] = ()) -> bytes:
    """Write rows of cells as the sheet S of OpenDocument; some of them, by their places, three times."""
    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    thrice = ' table:number-rows-repeated="3"'
    body = "".join(
        f"<table:table-row{thrice if place in repeated else ''}>{row}</table:table-row>"
        for place, row in enumerate(rows)
    )
    content = (
        f'<office:document-content{spaces}><office:body><office:spreadsheet><table:table table:name="S">'
        f"{body}</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    return zipped({"mimetype": kind, "content.xml": content, "META-INF/manifest.xml": manifest})

"""Finds the cells of an Excel sheet that hold an error, or a formula without its result.

The library that reads workbooks gives both as blank cells, and what the agent says would have a gap. The
formats that are XML in a zip archive show them: .xlsx and .xlsm.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import IO
from xml.etree import ElementTree

# As text, which is how OpenDocument has them.
ERROR_VALUES = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}
)
_ERROR = "holds an error of the spreadsheet, such as #N/A; correct it, or make the cell empty"
_NO_RESULT = "holds a formula without its result; open the workbook in a spreadsheet and save it there"
_BLOCK_BYTES = 1 << 20
# A cell ends so. Nothing within one looks the same, since text is escaped.
_END = b"</c>"
_CELL = re.compile(rb"<c\b([^>]*[^>/])>(.*)", re.DOTALL)
_PLACE = re.compile(rb'\br="([A-Z]{1,3})([0-9]+)"')
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def faulty_cells(file: IO[bytes], sheet: str) -> dict[tuple[int, int], str]:
    """Return the first such cell of each column, and what is the matter with it.

    :param file: a workbook that can be read from any place. Of another format than these it has none.
    :param sheet: the name of a sheet in it.
    :return: by row and column, both counted from 1.
    """
    faults: dict[tuple[int, int], str] = {}
    columns: set[int] = set()
    file.seek(0)
    if not zipfile.is_zipfile(file):
        return faults
    with zipfile.ZipFile(file) as archive:
        for row, column, fault in _faults_in(archive, _member_of(archive, sheet)):
            if column not in columns:
                columns.add(column)
                faults[row, column] = fault
    return faults


def _member_of(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """Return which file of the archive holds a sheet."""
    book, relations = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
    if not {book, relations} <= set(archive.namelist()):
        return None
    # The parser expands no entities beyond a small factor.
    sheets = ElementTree.fromstring(archive.read(book))  # noqa: S314
    targets = {
        each.get("Id"): each.get("Target") or ""
        for each in ElementTree.fromstring(archive.read(relations))  # noqa: S314
    }
    for each in sheets.iter(f"{_MAIN}sheet"):
        if each.get("name") == sheet:
            member = posixpath.normpath(posixpath.join("/xl", targets.get(each.get(_RELATION), "")))
            return member.lstrip("/")
    return None


def _faults_in(archive: zipfile.ZipFile, member: str | None) -> Iterator[tuple[int, int, str]]:
    if member not in archive.namelist():
        return
    with archive.open(member) as file:
        for block in _whole_cells(file):
            # Almost no list has either, which a search for the two tells at once.
            if b'"e"' in block or b"<f" in block:
                for piece in block.split(_END):
                    yield from _fault_of(piece)


def _whole_cells(file: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        whole, end, rest = (rest + block).rpartition(_END)
        yield whole + end


def _fault_of(piece: bytes) -> Iterator[tuple[int, int, str]]:
    cell = _CELL.search(piece)
    place = _PLACE.search(cell[1]) if cell else None
    if cell is None or place is None:
        return
    row, column = int(place[2]), 0
    for letter in place[1]:
        column = column * 26 + letter - ord("A") + 1
    if b't="e"' in cell[1]:
        yield row, column, _ERROR
    # A result that is empty text is marked as text.
    elif b"<f" in cell[2] and b"<v>" not in cell[2] and b't="str"' not in cell[1]:
        yield row, column, _NO_RESULT

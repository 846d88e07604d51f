"""Finds the cells of a sheet that hold an error, or a formula without its result.

The library that reads workbooks returns both as blank cells: what the agent says would have a gap, and a
do-not-call list would lose an entry. The formats that are XML in a zip archive show them: .xlsx, .xlsm and
.ods. Names are compared without their namespaces, of which each format has several.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO
from xml.etree.ElementTree import Element, iterparse

ERROR_VALUES = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}
)
_ERROR = "holds an error of the spreadsheet, such as #N/A; correct it, or make the cell empty"
_NO_RESULT = "holds a formula without its result; open the workbook in a spreadsheet and save it there"
_BOOK, _RELATIONS, _OPENDOCUMENT = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "content.xml"
_PLACE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})", re.IGNORECASE)
# Errors of LibreOffice that have no name are numbered.
_NUMBERED = re.compile(r"Err:[0-9]{3}")
_MOST_COLUMNS = 16_384
_BLOCK_BYTES = 1 << 20
# Without any of these a sheet has no such cell, and searching takes a fifth of the time of parsing: an error
# or a formula of Open XML and of OpenDocument, a letter written by its number, an encoding of two bytes.
_SUSPECT = re.compile(rb"""["']e["']|<(?:[^<>\s]*:)?f[\s/>]|error|formula|=\s*["'][^"'<>]{0,9}&#|\0""")
_OVERLAP_BYTES = 100
# No workbook declares entities, and those that expand without end need a declaration, in whatever encoding.
_DOCTYPE = re.compile(b"\0?".join(re.escape(bytes([byte])) for byte in b"<!DOCTYPE"))


def faulty_cells(file: IO[bytes], sheet: str) -> dict[tuple[int, int], str] | None:
    """Return the first such cell of each column, by row and column from 1, and what is the matter with it.

    :return: ``None`` for a format that does not show such cells.
    :raises ValueError: the sheet is not where it has to be.
    :raises xml.etree.ElementTree.ParseError: it is not well-formed.
    """
    file.seek(0)
    if not zipfile.is_zipfile(file):
        return None
    with zipfile.ZipFile(file) as archive:
        # Some programs write names with the separators of Windows, or in other letters.
        members = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
        if _BOOK in members:
            found = _in_open_xml(archive, members, sheet)
        elif _OPENDOCUMENT in members:
            found = _in_opendocument(archive, members[_OPENDOCUMENT], sheet)
        else:
            return None
        first: dict[int, tuple[int, str]] = {}
        for row, column, fault in found:
            first.setdefault(column, (row, fault))
    return {(row, column): fault for column, (row, fault) in first.items()}


def _in_open_xml(
    archive: zipfile.ZipFile, members: Mapping[str, str], sheet: str
) -> Iterator[tuple[int, int, str]]:
    targets = {
        element.get("Id"): element.get("Target", "")
        for _, name, element in _elements(archive, members.get(_RELATIONS, _RELATIONS))
        if name == "Relationship"
    }
    target, calculated = "", True
    for _, name, element in _elements(archive, members[_BOOK]):
        if name == "sheet" and element.get("name") == sheet:
            target = targets.get(_attribute(element, "id"), "")
        elif name == "calcPr":
            # Else the program that wrote the workbook has left the results to the next one that opens it.
            calculated = element.get("fullCalcOnLoad") not in {"1", "true"}
    member = posixpath.normpath(posixpath.join("/xl", target.replace("\\", "/"))).lstrip("/").lower()
    if member not in members:
        raise ValueError("no such sheet")
    row = column = 0
    for event, name, element in _elements(archive, members[member], only_suspect=True):
        if event == "start" and name == "row":
            row, column = int(element.get("r", row + 1)), 0
        elif event == "start" and name == "c":
            row, column = _place(element.get("r", "")) or (row, column + 1)
        elif name == "c" and (fault := _fault_of_open_xml(element, calculated=calculated)):
            yield row, column, fault
        elif name == "row":
            element.clear()


def _place(written: str) -> tuple[int, int] | None:
    """Return row and column of a place such as B12, which need not be written."""
    found = _PLACE.fullmatch(written)
    if found is None:
        return None
    column = 0
    for letter in found[1].upper():
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(found[2]), column


def _fault_of_open_xml(cell: Element, *, calculated: bool) -> str | None:
    if cell.get("t") == "e":
        return _ERROR
    parts = [(_local(part.tag), part.text or "") for part in cell.iter()]
    if "f" not in dict(parts):
        return None
    results = [text for name, text in parts if name in {"v", "t"}]
    result = "".join(results)
    # A result that is empty text is there, and marked as text.
    is_missing = not results or (not result.strip() and cell.get("t") != "str")
    # XlsxWriter gives a formula the result 0 until a spreadsheet has calculated it.
    is_stand_in = result == "0" and not calculated
    return _NO_RESULT if is_missing or is_stand_in else None


def _in_opendocument(archive: zipfile.ZipFile, member: str, sheet: str) -> Iterator[tuple[int, int, str]]:
    row, in_sheet = 1, False
    for event, name, element in _elements(archive, member, only_suspect=True):
        if name == "table":
            in_sheet = event == "start" and _attribute(element, "name") == sheet
        elif event == "end" and name == "table-row":
            if in_sheet:
                yield from ((row, column, fault) for column, fault in _in_row(element))
                row += int(_attribute(element, "number-rows-repeated") or 1)
            element.clear()


def _in_row(row: Element) -> Iterator[tuple[int, str]]:
    """Yield the faults of a row, in which cells that are alike are written once."""
    column = 1
    for cell in row:
        if _local(cell.tag) in {"table-cell", "covered-table-cell"}:
            beyond = column + int(_attribute(cell, "number-columns-repeated") or 1)
            if fault := _fault_of_opendocument(cell):
                yield from ((each, fault) for each in range(column, min(beyond, _MOST_COLUMNS + 1)))
            column = beyond


def _fault_of_opendocument(cell: Element) -> str | None:
    kinds = [value for name, value in cell.items() if _local(name) == "value-type"]
    if "error" in kinds:
        return _ERROR
    if _attribute(cell, "formula") is None:
        return None
    shown = "".join(text for part in cell if _local(part.tag) != "annotation" for text in part.itertext())
    if shown.strip() in ERROR_VALUES or _NUMBERED.fullmatch(shown.strip()):
        return _ERROR
    has_value = any(_local(name) == "value" or _local(name).endswith("-value") for name in cell.attrib)
    return None if has_value or shown.strip() or "string" in kinds else _NO_RESULT


def _elements(
    archive: zipfile.ZipFile, member: str, *, only_suspect: bool = False
) -> Iterator[tuple[str, str, Element]]:
    """Yield the start and the end of each element of a document, and its name.

    :param only_suspect: whether to yield nothing of a document without a faulty cell.
    """
    if only_suspect and not _is_suspect(archive, member):
        return
    with archive.open(member) as file:
        if _DOCTYPE.search(file.read(_BLOCK_BYTES)):
            raise ValueError("a workbook has no document type")
    with archive.open(member) as file:
        for event, element in iterparse(file, ("start", "end")):  # noqa: S314 - it declares no entities
            yield event, _local(element.tag), element


def _is_suspect(archive: zipfile.ZipFile, member: str) -> bool:
    with archive.open(member) as file:
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            if _SUSPECT.search(rest + block):
                return True
            rest = block[-_OVERLAP_BYTES:]
    return False


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _attribute(element: Element, name: str) -> str | None:
    return next((value for key, value in element.items() if _local(key) == name), None)

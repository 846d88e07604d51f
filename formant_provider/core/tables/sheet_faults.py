"""Finds the cells of a sheet that hold an error, or a formula without its result.

The library that reads workbooks gives both as blank cells: what the agent says would have a gap, and a
do-not-call list would lose an entry. The formats that are XML in a zip archive show them: .xlsx, .xlsm and
.ods. Names are compared without their namespaces, of which each format has several, and any prefix.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Mapping
from typing import IO, Protocol
from xml.parsers import expat

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
_TRUE = ("1", "true")

Attributes = Mapping[str, str]
Fault = tuple[int, int, str]


class _Reader(Protocol):
    """What is told of the elements of a document, by their names without prefix."""

    def start(self, name: str, attributes: Attributes) -> None: ...
    def text(self, text: str) -> None: ...
    def end(self, name: str) -> None: ...


def faulty_cells(file: IO[bytes], sheet: str) -> dict[tuple[int, int], str] | None:
    """Return the first such cell of each column, and what is the matter with it.

    :param file: a workbook that can be read from any place.
    :param sheet: the name of a sheet in it.
    :return: by row and column, both counted from 1; ``None`` for a format that does not show them.
    :raises ValueError: the sheet is not where it has to be.
    :raises xml.parsers.expat.ExpatError: it is not well-formed.
    """
    file.seek(0)
    if not zipfile.is_zipfile(file):
        return None
    with zipfile.ZipFile(file) as archive:
        # Some programs write names with the separators of Windows, or in other letters.
        members = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
        if _BOOK in members:
            cells: _OpenXmlCells | _OpenDocumentCells = _open_xml(archive, members, sheet)
        elif _OPENDOCUMENT in members:
            cells = _OpenDocumentCells(sheet)
            _parse_if_suspect(archive, members[_OPENDOCUMENT], cells)
        else:
            return None
    return cells.faults


def _open_xml(archive: zipfile.ZipFile, members: Mapping[str, str], sheet: str) -> _OpenXmlCells:
    book, relations = _Book(), _Relations()
    _parse(archive, members[_BOOK], book)
    _parse(archive, members.get(_RELATIONS, _RELATIONS), relations)
    target = relations.targets.get(book.sheets.get(sheet, ""), "")
    member = posixpath.normpath(posixpath.join("/xl", target.replace("\\", "/"))).lstrip("/").lower()
    if member not in members:
        raise ValueError("no such sheet")
    cells = _OpenXmlCells(calculated=book.calculated)
    _parse_if_suspect(archive, members[member], cells)
    return cells


def _parse_if_suspect(archive: zipfile.ZipFile, member: str, reader: _Reader) -> None:
    with archive.open(member) as file:
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            if _SUSPECT.search(rest + block):
                break
            rest = block[-_OVERLAP_BYTES:]
        else:
            return
    _parse(archive, member, reader)


def _parse(archive: zipfile.ZipFile, member: str, reader: _Reader) -> None:
    """Read a file of the archive, a block at a time."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, attributes: reader.start(_local(name), attributes)
    parser.EndElementHandler = lambda name: reader.end(_local(name))
    parser.CharacterDataHandler = reader.text
    # No workbook declares entities, and those that expand without end need a declaration.
    parser.StartDoctypeDeclHandler = _refuse_doctype
    with archive.open(member) as file:
        parser.ParseFile(file)


def _refuse_doctype(*_: object) -> None:
    raise ValueError("a workbook has no document type")


def _local(name: str) -> str:
    return name[name.rfind(":") + 1 :]


class _Relations:
    """Which file each identifier stands for."""

    def __init__(self) -> None:
        self.targets: dict[str, str] = {}

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "Relationship":
            self.targets[attributes.get("Id", "")] = attributes.get("Target", "")

    def text(self, text: str) -> None: ...
    def end(self, name: str) -> None: ...


class _Book:
    """Which identifier each sheet has.

    :ivar calculated: whether the results of formulas are those of a spreadsheet. Else the program that wrote
        the workbook has left them to the next one that opens it.
    """

    def __init__(self) -> None:
        self.sheets: dict[str, str] = {}
        self.calculated = True

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "sheet":
            local = {_local(key): value for key, value in attributes.items()}
            self.sheets[local.get("name", "")] = local.get("id", "")
        elif name == "calcPr":
            self.calculated = attributes.get("fullCalcOnLoad") not in _TRUE

    def text(self, text: str) -> None: ...
    def end(self, name: str) -> None: ...


class _Faults:
    """Keeps the first fault of each column."""

    def __init__(self) -> None:
        self.faults: dict[tuple[int, int], str] = {}
        self._columns: set[int] = set()

    def add(self, row: int, column: int, fault: str) -> None:
        if column not in self._columns:
            self._columns.add(column)
            self.faults[row, column] = fault


class _OpenXmlCells(_Faults):
    """Looks at the cells of a sheet of .xlsx or .xlsm, whose places need not be written.

    :param calculated: as :class:`_Book` has it.
    """

    def __init__(self, *, calculated: bool) -> None:
        super().__init__()
        self._calculated = calculated
        self._row = self._column = 0
        self._kind: str | None = None
        self._has_formula = self._in_result = False
        self._result: str | None = None

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "c":
            self._place(attributes.get("r"))
            self._kind = attributes.get("t")
            self._has_formula, self._result = False, None
        elif name == "f":
            self._has_formula = True
        elif name in {"v", "t"}:
            self._in_result, self._result = True, self._result or ""
        elif name == "row":
            self._row = int(attributes.get("r", self._row + 1))
            self._column = 0

    def text(self, text: str) -> None:
        if self._in_result:
            self._result = (self._result or "") + text

    def end(self, name: str) -> None:
        if name == "c":
            fault = self._fault()
            if fault is not None:
                self.add(self._row, self._column, fault)
        elif name in {"v", "t"}:
            self._in_result = False

    def _place(self, written: str | None) -> None:
        self._column += 1
        place = _PLACE.fullmatch(written or "")
        if place is not None:
            self._row, self._column = int(place[2]), 0
            for letter in place[1].upper():
                self._column = self._column * 26 + ord(letter) - ord("A") + 1

    def _fault(self) -> str | None:
        if self._kind == "e":
            return _ERROR
        if not self._has_formula:
            return None
        # A result that is empty text is there, and marked as text.
        is_missing = self._result is None or (not self._result.strip() and self._kind != "str")
        # XlsxWriter gives a formula the result 0 until a spreadsheet has calculated it.
        is_stand_in = self._result == "0" and not self._calculated
        return _NO_RESULT if is_missing or is_stand_in else None


class _OpenDocumentCells(_Faults):
    """Looks at the cells of a sheet of .ods, where rows and cells that are alike are written once.

    :param sheet: its name.
    """

    def __init__(self, sheet: str) -> None:
        super().__init__()
        self._sheet, self._in_sheet = sheet, False
        self._row = self._column = 1
        self._rows_alike = self._cells_alike = 1
        self._cell: Attributes | None = None
        self._shown, self._in_note = "", False

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "table":
            self._in_sheet = _value_of(attributes, "name") == self._sheet
        elif not self._in_sheet:
            return
        elif name == "table-row":
            self._rows_alike = int(_value_of(attributes, "number-rows-repeated") or 1)
            self._column = 1
        elif name in {"table-cell", "covered-table-cell"}:
            self._cells_alike = int(_value_of(attributes, "number-columns-repeated") or 1)
            self._cell, self._shown = attributes, ""
        elif name == "annotation":
            self._in_note = True

    def text(self, text: str) -> None:
        if self._cell is not None and not self._in_note:
            self._shown += text

    def end(self, name: str) -> None:
        if name == "table":
            self._in_sheet = False
        elif not self._in_sheet:
            return
        elif name == "table-row":
            self._row += self._rows_alike
        elif name in {"table-cell", "covered-table-cell"}:
            self._end_cell()
        elif name == "annotation":
            self._in_note = False

    def _end_cell(self) -> None:
        fault = None if self._cell is None else _fault_of(self._cell, self._shown.strip())
        if fault is not None:
            last = min(self._column + self._cells_alike - 1, _MOST_COLUMNS)
            for column in range(self._column, last + 1):
                self.add(self._row, column, fault)
        self._column += self._cells_alike
        self._cell = None


def _fault_of(cell: Attributes, shown: str) -> str | None:
    """Return what is the matter with a cell of OpenDocument that shows this text."""
    kinds = [value for name, value in cell.items() if _local(name) == "value-type"]
    if "error" in kinds:
        return _ERROR
    if _value_of(cell, "formula") is None:
        return None
    if shown in ERROR_VALUES or _NUMBERED.fullmatch(shown):
        return _ERROR
    has_value = any(_local(name) == "value" or _local(name).endswith("-value") for name in cell)
    return None if has_value or shown or "string" in kinds else _NO_RESULT


def _value_of(attributes: Attributes, name: str) -> str | None:
    return next((value for key, value in attributes.items() if _local(key) == name), None)

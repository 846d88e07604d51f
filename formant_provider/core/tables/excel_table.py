"""Reads a sheet of a workbook row by row, or refuses it: Excel's formats and OpenDocument.

An error names rows, columns and sheets, never the content of a cell. It is raised after the one that it
replaces was handled: else it would carry that one along, whose text may quote the file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NoReturn, TypeVar

from formant_provider.api.errors import InvalidInput
from formant_provider.core.tables.packing import ZIP
from formant_provider.core.tables.sheet_faults import ERROR_VALUES, faulty_cells

T = TypeVar("T")

_MOST_NAMED = 20
_PASSWORD = "is a workbook with a password; save it without one"  # noqa: S105 - says so, and is none
_MANIFEST = "META-INF/manifest.xml"
_BLANK = (
    "is blank, and a workbook of this format does not show whether it holds an error; save it as .xlsx, or"
    " delete the row"
)


class ExcelTable:
    """A sheet of a workbook, in memory as a whole.

    :param only: whether to refuse a workbook that has several sheets to choose from, in place of taking the
        first.
    """

    def __init__(self, file: IO[bytes], field: str, sheet: str | None = None, *, only: bool = False) -> None:
        try:
            import python_calamine
        except ImportError:
            python_calamine = None  # type: ignore[assignment]
        if python_calamine is None:
            reason = "a workbook needs python-calamine here: pip install 'airflow-provider-formant[excel]'"
            raise InvalidInput(field, reason)
        self._library: Any = python_calamine
        self._field = field
        _refuse_no_workbook(file, field)
        file.seek(0)
        book = self._guarded(lambda: self._library.CalamineWorkbook.from_filelike(file))
        self.sheet = self._chosen(book, sheet, only=only)
        cells = self._guarded(lambda: book.get_sheet_by_name(self.sheet).to_python(skip_empty_area=False))
        faults = self._guarded(lambda: faulty_cells(file, self.sheet))
        self._faults = faults or {}
        # In a list of numbers a blank cell may be somebody.
        self._blanks_mean_nobody = faults is not None or not only
        self._columns: list[int] = []
        self.names: list[str] = []
        self._read_header(cells)

    def float_bits(self, place: int) -> None:  # noqa: ARG002 - a workbook has floats of one kind
        """Return ``None``: no column holds short floats."""
        return

    def rows(self, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Return the values of some columns, by row; a cell that is empty holds ``""``."""
        columns = [self._columns[place] for place in places]
        # Before any row: some are below the last row that has a value, which is the last of the cells.
        faulty = min((place for place in self._faults if place[1] - 1 in columns), default=None)
        if faulty is not None:
            self._refuse(*faulty)
        for number, row in enumerate(self._cells, self.first_row):
            yield tuple(self._value(number, column, row[column]) for column in columns)

    def _read_header(self, cells: list[list[Any]]) -> None:
        header = next((place for place, row in enumerate(cells) if any(map(_is_filled, row))), None)
        first_fault = min(self._faults, default=None)
        if first_fault is not None and (header is None or first_fault[0] <= header + 1):
            self._refuse(*first_fault)
        if header is None:
            raise InvalidInput(self._field, f"sheet {self.sheet!r} is empty: there is no header")
        if header and not self._blanks_mean_nobody:
            self._refuse(header, 1, _BLANK)
        self.first_row = header + 2
        self._cells = cells[header + 1 :]
        # A column without a name is none, unless there is something in it.
        faulty = {column - 1 for _, column in self._faults}
        names = dict(enumerate(cells[header]))
        self._columns = [
            column
            for column in sorted(faulty | names.keys())
            if column in faulty
            or _is_filled(names[column])
            or any(_is_filled(row[column]) for row in self._cells)
        ]
        self.names = [str(_plain(names.get(column, ""))) for column in self._columns]

    def _value(self, row: int, column: int, value: Any) -> Any:
        if isinstance(value, str) and value in ERROR_VALUES:
            self._refuse(row, column + 1, f"holds {value}, an error of the spreadsheet")
        if not self._blanks_mean_nobody and not _is_filled(value):
            self._refuse(row, column + 1, _BLANK)
        return _plain(value)

    def _refuse(self, row: int, column: int, fault: str | None = None) -> NoReturn:
        """Refuse a cell, whose row and column are counted from 1."""
        names = dict(zip(self._columns, self.names, strict=True))
        name = names.get(column - 1, "")
        told = f"column {name}" if name.isidentifier() else f"column {column}"
        raise InvalidInput(self._field, f"row {row}, {told}: {fault or self._faults[row, column]}")

    def _chosen(self, book: Any, sheet: str | None, *, only: bool) -> str:
        names: list[str] = book.sheet_names
        shown: list[str] = [
            each.name
            for each in book.sheets_metadata
            if each.visible == self._library.SheetVisibleEnum.Visible
            and each.typ == self._library.SheetTypeEnum.WorkSheet
        ]
        listed = ", ".join(map(repr, names[:_MOST_NAMED]))
        if sheet is not None and sheet in names:
            return sheet
        if sheet is not None and not only:
            raise InvalidInput("sheet", f"the workbook has no such sheet; it has {listed}")
        if not shown:
            raise InvalidInput(self._field, "is a workbook without a sheet that is not hidden")
        if only and len(shown) > 1:
            raise InvalidInput(self._field, f"has several sheets ({listed}); say which in sheet=")
        return shown[0]

    def _guarded(self, read: Callable[[], T]) -> T:
        """Read, and refuse what is no workbook."""
        try:
            return read()
        except self._library.PasswordError:
            fault = _PASSWORD
        except OSError as error:
            if error.errno is not None:  # of the storage, and so perhaps better next time
                raise
            fault = None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the library's panic is no Exception
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            fault = None
        raise InvalidInput(self._field, fault or "is damaged, or a workbook that cannot be read here")


def _plain(value: Any) -> Any:
    # A workbook has no integers: all of its numbers are floats.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_filled(cell: object) -> bool:
    return not (isinstance(cell, str) and not cell.strip())


def _refuse_no_workbook(file: IO[bytes], field: str) -> None:
    """Refuse what is no workbook, and one that cannot be opened without its password."""
    file.seek(0)
    if file.read(len(ZIP)) != ZIP:
        file.seek(0)
        if "EncryptedPackage".encode("utf-16-le") in file.read():
            raise InvalidInput(field, _PASSWORD)
        return
    names, is_encrypted = _in_archive(file)
    if not names:
        raise InvalidInput(field, "is a zip archive or a workbook that is damaged or cut off")
    if is_encrypted:
        raise InvalidInput(field, _PASSWORD)
    if any(name.endswith(".iwa") for name in names):
        raise InvalidInput(field, "is a document of Numbers; export it as CSV or as an Excel workbook")
    if "content.xml" not in names and not any(name.lower().startswith("xl/workbook.") for name in names):
        raise InvalidInput(field, "is a zip archive and no workbook; unpack it")


def _in_archive(file: IO[bytes]) -> tuple[set[str], bool]:
    """Return what is in an archive, and whether OpenDocument has it encrypted; nothing if it is damaged."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            return names, _MANIFEST in names and b"encryption-data" in archive.read(_MANIFEST)
    # The last two: packed in a way that zipfile does not know, or encrypted.
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError):
        return set(), False

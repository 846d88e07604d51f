"""Opens a table of contacts or of numbers, whatever kind of file it is in. The content tells the kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from formant_provider.api.csv_table import CsvTable, buffered, is_parquet
from formant_provider.api.errors import InvalidInput
from formant_provider.api.excel_table import ExcelTable, may_be_workbook
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.api.parquet_table import ParquetTable

# What else people have, by its first bytes.
_OTHERS = {
    re.compile(rb"\s*\{\s*\"|\s*\[\s*[\[{\"]"): "JSON; write it as CSV or Parquet",
    re.compile(rb"\s*<(\?xml|!doctype|html|table|meta)", re.IGNORECASE): "XML or HTML, as some programs write"
    " under the name of a workbook; open it in a spreadsheet and save it as .xlsx or CSV",
    re.compile(rb"ARROW1"): "Arrow (Feather); write it as Parquet",
    re.compile(rb"Obj\x01"): "Avro; write it as Parquet",
    re.compile(rb"ORC[^ -~]"): "ORC; write it as Parquet",
    re.compile(rb"%PDF"): "a PDF document; export it as CSV",
    re.compile(rb"SQLite format 3"): "a database of SQLite; export it as CSV",
    re.compile(rb"\xfd7zXZ\0"): "compressed with xz; use gzip",
    re.compile(rb"\x04\x22\x4d\x18"): "compressed with LZ4; use gzip",
    re.compile(rb"7z\xbc\xaf|Rar!"): "an archive; unpack it",
}


@dataclass(frozen=True)
class FileForm:
    """How a file of contacts is written, as far as its content does not tell.

    :param delimiter: between the cells of a CSV file.
    :param sheet: the name of the sheet of a workbook; ``None`` takes the first that is not hidden.
    :param phone_column: the name that the column of numbers has in the file.
    """

    delimiter: str = ","
    sheet: str | None = None
    phone_column: str = PHONE_PARAMETER


class ValueTable(Protocol):
    """A table whose cells are values, and not text alone.

    :ivar names: of its columns, as they are.
    :ivar first_row: the number of its first row.
    """

    names: list[str]
    first_row: int

    def float_bits(self, place: int) -> int | None:
        """Return in how many bits a column holds floats; ``None`` if it holds none, or nobody knows."""

    def rows(self, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Return the values of some columns, by row."""


def open_table(
    file: IO[bytes], field: str, form: FileForm, *, as_list: bool = False
) -> CsvTable | ValueTable:
    """Open a file by its content: Parquet, a workbook, or CSV, also compressed.

    :param file: open for reading, and left open. Parquet and workbooks need one that can be read from any
        place.
    :param field: to be named in an error.
    :param as_list: whether it is a list of numbers, of which no part may be missed: the delimiter of CSV is
        then found out, and of a workbook with several sheets none is taken by its place.
    :raises InvalidInput: it cannot be read, or is of another kind.
    """
    raw = buffered(file)
    start = raw.peek(64)
    if is_parquet(raw):
        return ParquetTable(file, field)
    if may_be_workbook(start):
        return ExcelTable(file, field, form.sheet, only=as_list)
    if form.sheet is not None and not as_list:
        raise InvalidInput("sheet", "is the name of a sheet, and the contacts are in no workbook")
    _refuse_others(start, field)
    return CsvTable(raw, form.delimiter, field, any_delimiter=as_list, phone_column=form.phone_column)


def _refuse_others(start: bytes, field: str) -> None:
    for pattern, kind in _OTHERS.items():
        if pattern.match(start):
            raise InvalidInput(field, f"is {kind}")

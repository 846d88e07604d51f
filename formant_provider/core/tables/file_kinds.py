"""Opens a table of contacts or of numbers. The content of the file tells its kind, and not its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.tables.csv_table import CsvTable, buffered
from formant_provider.core.tables.excel_table import ExcelTable
from formant_provider.core.tables.packing import OLE, PARQUET, ZIP
from formant_provider.core.tables.value_tables import ParquetTable, ValueTable


@dataclass(frozen=True)
class FileForm:
    """How a file of contacts is written, as far as its content does not tell."""

    delimiter: str = ","
    sheet: str | None = None
    phone_column: str = PHONE_PARAMETER


def open_table(
    file: IO[bytes], field: str, form: FileForm, *, as_list: bool = False
) -> CsvTable | ValueTable:
    """Open a file by its content: Parquet, a workbook, or CSV, also compressed.

    :param as_list: whether it is a list of numbers, of which no part may be missed: the delimiter of CSV is
        then found out, and of a workbook with several sheets none is taken by its place.
    """
    raw = buffered(file)
    start = raw.peek(8)
    if start.startswith(PARQUET):
        return ParquetTable(file, field)
    if start.startswith((OLE, ZIP)):
        return ExcelTable(file, field, form.sheet, only=as_list)
    if form.sheet is not None and not as_list:
        raise InvalidInput("sheet", "is the name of a sheet, and the contacts are in no workbook")
    return CsvTable(raw, form.delimiter, field, any_delimiter=as_list, phone_column=form.phone_column)

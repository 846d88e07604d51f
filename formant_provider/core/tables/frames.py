"""Reads data frames that are in memory: those of pandas and polars, and what speaks Arrow.

They are known by what their classes are called, since none of the libraries is needed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.tables.csv_table import ROWS_AT_ONCE, clean_name
from formant_provider.core.tables.file_kinds import ValueTable
from formant_provider.core.tables.parquet_table import ArrowTable
from formant_provider.core.values import short_float

_ELSEWHERE = {
    ("polars", "LazyFrame"): "is a LazyFrame, which holds no rows; call .collect() on it",
    ("pyspark", "DataFrame"): "is a data frame of Spark; write it to a folder, and give its path",
    ("dask", "DataFrame"): "is a data frame of Dask; call .compute() on it, or write it to a folder",
}


def frame_table(value: Any, field: str, phone_column: str) -> ValueTable | None:
    """Return the table that a data frame is; ``None`` for anything else.

    :param value: of pandas, polars or pyarrow, a relation of DuckDB, or what else hands out Arrow.
    :param field: to be named in an error.
    :param phone_column: the name of the column of numbers, which pandas may have made an index.
    :raises InvalidInput: it is a frame that holds no rows here.
    """
    names = {(each.__module__.partition(".")[0], each.__name__) for each in type(value).__mro__}
    for name in names & _ELSEWHERE.keys():
        raise InvalidInput(field, _ELSEWHERE[name])
    if ("pandas", "DataFrame") in names:
        _refuse_index(value, field, phone_column)
        return _FrameTable(_Pandas(value))
    if ("polars", "DataFrame") in names:
        return _FrameTable(_Polars(value, field))
    # A single column hands out Arrow as well, and is a list.
    if hasattr(value, "__arrow_c_stream__") and not {name for _, name in names} & {"Series", "ChunkedArray"}:
        return _arrow_table(value, field)
    return None


def _arrow_table(value: Any, field: str) -> ArrowTable:
    try:
        import pyarrow
    except ImportError:
        pyarrow = None
    if pyarrow is None:
        raise InvalidInput(field, "Arrow needs pyarrow here: pip install 'airflow-provider-formant[parquet]'")
    table = pyarrow.table(value)
    return ArrowTable(field, table.schema, lambda size: iter(table.to_batches(max_chunksize=size)))


def _refuse_index(frame: Any, field: str, phone_column: str) -> None:
    wanted = {phone_column, PHONE_PARAMETER}
    columns = {clean_name(name) for name in frame.columns if isinstance(name, str)}
    if not wanted & columns and wanted & set(frame.index.names):
        raise InvalidInput(field, "has its numbers in the index of the data frame; call .reset_index() on it")


class _Columns(Protocol):
    """The columns of a data frame."""

    names: list[str]
    size: int

    def kind(self, place: int) -> str:
        """Return what a column holds, as its library calls it."""

    def values(self, place: int, start: int, stop: int) -> list[Any]:
        """Return some values of a column as Python has them."""


class _FrameTable:
    """A data frame that is being read, with rows from 1 on."""

    def __init__(self, columns: _Columns) -> None:
        self._columns, self.names, self.first_row = columns, columns.names, 1

    def float_bits(self, place: int) -> int | None:
        kind = self._columns.kind(place).lower().partition("[")[0]
        return {"float16": 16, "halffloat": 16, "float32": 32, "float": 32, "float64": 64}.get(kind)

    def rows(self, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, self._columns.size, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, self._columns.size)
            yield from zip(*(self._values(place, start, stop) for place in places), strict=True)

    def _values(self, place: int, start: int, stop: int) -> list[Any]:
        values, bits = self._columns.values(place, start, stop), self.float_bits(place)
        if bits not in {16, 32}:
            return values
        return [short_float(value, bits) if isinstance(value, float) else value for value in values]


class _Pandas:
    def __init__(self, frame: Any) -> None:
        self._frame, self.names, self.size = frame, list(frame.columns), len(frame)

    def kind(self, place: int) -> str:
        return str(self._frame.dtypes.iloc[place])

    def values(self, place: int, start: int, stop: int) -> list[Any]:
        return list(self._frame.iloc[start:stop, place].tolist())


class _Polars:
    def __init__(self, frame: Any, field: str) -> None:
        self._frame, self.names, self.size = frame, list(frame.columns), frame.height
        self._field = field

    def kind(self, place: int) -> str:
        return str(self._frame.dtypes[place])

    def values(self, place: int, start: int, stop: int) -> list[Any]:
        series = self._frame.slice(start, stop - start).to_series(place)
        # As values of Python they would lose what is below a microsecond without a word.
        if self.kind(place).startswith("Datetime(time_unit='ns'"):
            odd = (series.dt.nanosecond() % 1000 != 0).arg_true().to_list()
            if odd:
                where = f"row {start + odd[0] + 1}, column {place + 1}"
                raise InvalidInput(self._field, f"{where}: has nanoseconds; round it to microseconds")
        return list(series.to_list())

"""Reads tables whose cells are values and not only text: Parquet, Arrow, frames of pandas and polars.

Frames are known by what their classes are called, since none of the libraries is needed here. An error names
rows and columns, never a value. It is raised after the one that it replaces was handled: else it would carry
that one along, whose text may quote the file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Protocol, TypeVar

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.tables.csv_table import ROWS_AT_ONCE, clean_name
from formant_provider.core.values import short_float

T = TypeVar("T")
# In how many bits columns hold floats, by the words of Arrow, and by those of pandas and polars.
_ARROW_FLOATS = {"halffloat": 16, "float": 32, "double": 64}
_FLOATS = {"float16": 16, "halffloat": 16, "float32": 32, "float": 32, "float64": 64}
_ELSEWHERE = {
    ("polars", "LazyFrame"): "is a LazyFrame, which holds no rows; call .collect() on it",
    ("pyspark", "DataFrame"): "is a data frame of Spark; write it to a folder, and give its path",
    ("dask", "DataFrame"): "is a data frame of Dask; call .compute() on it, or write it to a folder",
}


class ValueTable(Protocol):
    """A table whose cells are values, and not text alone."""

    names: list[str]
    first_row: int

    def float_bits(self, place: int) -> int | None:
        """Return in how many bits a column holds floats; ``None`` if it holds none, or nobody knows."""

    def rows(self, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Return the values of some columns, by row."""


class ArrowTable:
    """A table in batches of Arrow that is being read."""

    def __init__(self, field: str, schema: Any, batches: Callable[[int], Iterator[Any]]) -> None:
        self._field, self._schema, self._batches = field, schema, batches
        self.names: list[str] = self._guarded(lambda: list(schema.names))
        self.first_row = 1

    def float_bits(self, place: int) -> int | None:
        """Return in how many bits a column holds floats; ``None`` if it holds none."""
        return _ARROW_FLOATS.get(str(self._schema.types[place]))

    def rows(self, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Return the values of some columns, by row."""
        batches = self._guarded(lambda: self._batches(ROWS_AT_ONCE * 4))
        first = 1
        while (batch := self._guarded(lambda: next(batches, None))) is not None:
            yield from zip(*(self._values(batch, place, first) for place in places), strict=True)
            first += batch.num_rows

    def _values(self, batch: Any, place: int, first: int) -> list[Any]:
        column, bits = batch.columns[place], self.float_bits(place)
        if bits == 16:  # which pyarrow cannot read without numpy
            column = self._guarded(lambda: column.cast("float32"))
        values = _tried(column.to_pylist)
        if values is None:
            unread = (row for row in range(len(column)) if _tried(lambda: [column[row].as_py()]) is None)  # noqa: B023
            name = f", column {self.names[place]}" if self.names[place].isprintable() else ""
            raise InvalidInput(
                self._field,
                f"row {first + next(unread, 0)}{name}: holds text that is no UTF-8, nanoseconds, an unknown"
                " time zone, or a date before the year 1 or after 9999",
            )
        return _with_few_digits(values, bits)

    def _guarded(self, read: Callable[[], T]) -> T:
        return _guarded(self._field, read)


class ParquetTable(ArrowTable):
    """A Parquet file that is being read."""

    def __init__(self, file: IO[bytes], field: str) -> None:
        try:
            from pyarrow import parquet
        except ImportError:
            parquet = None
        if parquet is None:
            reason = "Parquet needs pyarrow here: pip install 'airflow-provider-formant[parquet]'"
            raise InvalidInput(field, reason)
        file.seek(0)
        # Read by small blocks: a row group as a whole may be larger than the memory.
        table = _guarded(field, lambda: parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 16))
        schema = _guarded(field, lambda: table.schema_arrow)
        super().__init__(field, schema, lambda size: table.iter_batches(size, use_threads=False))


def frame_table(value: Any, field: str, phone_column: str) -> ValueTable | None:
    """Return the table that a data frame is; ``None`` for anything else.

    :param phone_column: the name of the column of numbers, which pandas may have made an index.
    """
    names = {(each.__module__.partition(".")[0], each.__name__) for each in type(value).__mro__}
    for name in names & _ELSEWHERE.keys():
        raise InvalidInput(field, _ELSEWHERE[name])
    if ("pandas", "DataFrame") in names:
        _refuse_index(value, field, phone_column)
        return _PandasFrame(value, len(value))
    if ("polars", "DataFrame") in names:
        return _PolarsFrame(value, value.height, field)
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


class _Frame(ABC):
    """A data frame that is being read, with rows from 1 on."""

    first_row = 1

    def __init__(self, frame: Any, size: int) -> None:
        self._frame, self._size, self.names = frame, size, list(frame.columns)

    def float_bits(self, place: int) -> int | None:
        return _FLOATS.get(self._kind(place).lower().partition("[")[0])

    def rows(self, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, self._size, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, self._size)
            columns = (_with_few_digits(self._values(it, start, stop), self.float_bits(it)) for it in places)
            yield from zip(*columns, strict=True)

    @abstractmethod
    def _kind(self, place: int) -> str:
        """Return what a column holds, as its library calls it."""

    @abstractmethod
    def _values(self, place: int, start: int, stop: int) -> list[Any]:
        """Return some values of a column as Python has them."""


class _PandasFrame(_Frame):
    def _kind(self, place: int) -> str:
        return str(self._frame.dtypes.iloc[place])

    def _values(self, place: int, start: int, stop: int) -> list[Any]:
        return list(self._frame.iloc[start:stop, place].tolist())


class _PolarsFrame(_Frame):
    def __init__(self, frame: Any, size: int, field: str) -> None:
        super().__init__(frame, size)
        self._field = field

    def _kind(self, place: int) -> str:
        return str(self._frame.dtypes[place])

    def _values(self, place: int, start: int, stop: int) -> list[Any]:
        series = self._frame.slice(start, stop - start).to_series(place)
        # As values of Python they would lose what is below a microsecond without a word.
        if self._kind(place).startswith("Datetime(time_unit='ns'"):
            odd = (series.dt.nanosecond() % 1000 != 0).arg_true().to_list()
            if odd:
                where = f"row {start + odd[0] + 1}, column {place + 1}"
                raise InvalidInput(self._field, f"{where}: has nanoseconds; round it to microseconds")
        return list(series.to_list())


def _with_few_digits(values: list[Any], bits: int | None) -> list[Any]:
    """Return values with the digits they have, which those of short floats have not when they are widened."""
    if bits not in {16, 32}:
        return values
    return [short_float(value, bits) if isinstance(value, float) else value for value in values]


def _guarded(field: str, read: Callable[[], T]) -> T:
    """Read, and refuse what is no Parquet."""
    from pyarrow import ArrowException

    try:
        return read()
    except (ArrowException, UnicodeDecodeError):
        pass
    except OSError as error:
        if error.errno is not None:  # of the storage, and so perhaps better next time
            raise
    raise InvalidInput(field, "is damaged, or Parquet of a kind that cannot be read here")


def _tried(read: Callable[[], list[Any]]) -> list[Any] | None:
    """Make Python values of what is in memory already; ``None`` if Python cannot hold one of them."""
    try:
        return read()
    except Exception:  # of many kinds, by the type of the column, and each may quote the value
        return None

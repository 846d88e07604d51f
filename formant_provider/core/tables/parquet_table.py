"""Reads a Parquet file row by row, or refuses it.

An error names rows and columns, never a value. It is raised after the one that it replaces was handled: else
it would carry that one along, whose text may quote the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeVar

from formant_provider.api.errors import InvalidInput
from formant_provider.core.tables.csv_table import ROWS_AT_ONCE
from formant_provider.core.values import short_float

T = TypeVar("T")


class ArrowTable:
    """A table in batches of Arrow that is being read.

    :param field: to be named in an error.
    :param schema: its columns.
    :param batches: returns its batches, of about as many rows as it is told.
    :ivar names: of its columns, as they are.
    :ivar first_row: the number of its first row, which is 1.
    """

    def __init__(self, field: str, schema: Any, batches: Callable[[int], Iterator[Any]]) -> None:
        self._field, self._schema, self._batches = field, schema, batches
        self.names: list[str] = self._guarded(lambda: list(schema.names))
        self.first_row = 1

    def float_bits(self, place: int) -> int | None:
        """Return in how many bits a column holds floats; ``None`` if it holds none."""
        return {"halffloat": 16, "float": 32, "double": 64}.get(str(self._schema.types[place]))

    def rows(self, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Return the values of some columns, by row.

        :raises InvalidInput: a value cannot be read.
        """
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
        return [short_float(value, bits) for value in values] if bits in {16, 32} else values

    def _guarded(self, read: Callable[[], T]) -> T:
        return _guarded(self._field, read)


class ParquetTable(ArrowTable):
    """A Parquet file that is being read.

    :param file: open for reading, at any place, and left open.
    :param field: to be named in an error.
    :raises InvalidInput: it cannot be read, or there is no pyarrow to read it.
    """

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

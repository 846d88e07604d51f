"""Parquet: columns of any kind become text, or are refused by row and column."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from formant_provider.core.contacts.sources import open_contacts
from support.contact_tables import read, rows_of
from support.refusals import refusal

NUMBER = "+14155552671"


def parquet(columns: dict[str, Any], **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), file, **options)
    file.seek(0)
    return file


def test_parquet_is_known_by_its_content() -> None:
    """Columns of any kind become text, over row groups and batches; nulls are blank."""
    phones = [f"+1415555{last:04}" for last in range(5000)]
    amounts = [None if last % 3 == 0 else last / 2 for last in range(5000)]
    file = parquet({"customer_phone": phones, "due": amounts}, row_group_size=1700)
    contacts = open_contacts(file)
    assert contacts.columns == ("customer_phone", "due")
    rows = rows_of(contacts)
    assert [row[0] for row in rows] == phones
    assert [row[1] for row in rows[:4]] == ["", "0.5", "1.0", ""]
    assert not file.closed


@pytest.mark.parametrize("cut", [4, 60, -1])
def test_damaged_parquet_is_refused(cut: int) -> None:
    """A part of a file is no file."""
    whole = parquet({"customer_phone": [NUMBER] * 99}).getvalue()
    assert "damaged" in refusal(lambda: rows_of(read(whole[:cut])))


def test_parquet_without_its_library_says_what_to_install() -> None:
    """The error names the extra."""
    code = """if True:
        import io, sys
        sys.modules["pyarrow"] = None
        from formant_provider.core.contacts.sources import open_contacts
        open_contacts(io.BytesIO(b"PAR1...."))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'airflow-provider-formant[parquet]'" in done.stderr.splitlines()[-1]
    assert "During handling" not in done.stderr


def pa_array(values: list[Any], kind: str, *args: Any) -> Any:
    pyarrow = pytest.importorskip("pyarrow")
    made = {"float32": pyarrow.float32(), "date32": pyarrow.date32(), "text": pyarrow.string()}
    return pyarrow.array(values, made.get(kind) or getattr(pyarrow, kind)(*args))


def broken_text() -> Any:
    """A column of two texts, of which the second is no UTF-8."""
    pyarrow = pytest.importorskip("pyarrow")
    offsets = pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\6\0\0\0")
    return pyarrow.Array.from_buffers(pyarrow.string(), 2, [None, offsets, pyarrow.py_buffer(b"aRahu\xff")])


UNREADABLE: dict[str, Any] = {
    "nanoseconds": lambda: pa_array([0, 1775656800123456789], "timestamp", "ns"),
    "an infinite date": lambda: pa_array([1, 2147483647], "date32"),
    "a moment after 9999": lambda: pa_array([1, 2**62], "timestamp", "us"),
    "broken UTF-8": broken_text,
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_python_cannot_hold_is_refused_by_row_and_column(kind: str) -> None:
    """It is an error of the input, which is not retried and quotes nothing."""
    file = parquet({"customer_phone": [NUMBER, NUMBER], "due": UNREADABLE[kind]()})
    assert "row 2, column due: h" in refusal(lambda: rows_of(open_contacts(file)))


def test_rows_are_counted_over_batches() -> None:
    """The row that is named is that of the file, and not that of a batch."""
    days = [1] * 4000 + [2147483647]
    file = parquet({"customer_phone": [NUMBER] * 4001, "due": pa_array(days, "date32")}, row_group_size=1500)
    assert "row 4001, column due" in refusal(lambda: rows_of(open_contacts(file)))


KINDS: dict[str, tuple[Any, list[str]]] = {
    "float32": (lambda: pa_array([19.99, None, 20.0, math.nan], "float32"), ["19.99", "", "20.0", ""]),
    "float64": (lambda: [19.99, 0.1, None, 1e22], ["19.99", "0.1", "", "10000000000000000000000"]),
    "dictionary": (lambda: pa_array(["a", "b", "a", None], "text").dictionary_encode(), ["a", "b", "a", ""]),
    "decimal": (
        lambda: [Decimal("1.10"), None, Decimal("2.00"), Decimal("3.05")],
        ["1.10", "", "2.00", "3.05"],
    ),
    "whole microseconds": (
        lambda: pa_array([0, None, 1775656800123456000, 0], "timestamp", "ns", "UTC"),
        ["1970-01-01T00:00:00+00:00", "", "2026-04-08T14:00:00.123456+00:00", "1970-01-01T00:00:00+00:00"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_any_kind_are_written_as_they_are_meant(kind: str) -> None:
    """With as few digits as a float has, and every null is blank."""
    column, texts = KINDS[kind]
    file = parquet({"customer_phone": [NUMBER] * 4, "due": column()})
    assert [row[1] for row in rows_of(open_contacts(file))] == texts


@pytest.mark.parametrize("value", [b"Rahul", ["Rahul"], {"name": "Rahul"}, math.inf], ids=repr)
def test_columns_that_are_no_text_are_refused(value: Any) -> None:
    """By row, column and type."""
    file = parquet({"customer_phone": [NUMBER], "due": [value]})
    assert "row 1, column due: must be text" in refusal(lambda: rows_of(open_contacts(file)))


def test_numbers_in_short_floats_are_refused() -> None:
    """They have lost digits, so that they are somebody else's, whatever numbers= says."""
    file = parquet({"customer_phone": pa_array([4155550100.0], "float32")})
    assert "short floats" in refusal(lambda: open_contacts(file, numbers="national"))


def test_numbers_in_floats_are_read_where_that_is_said() -> None:
    """A data frame makes floats of integers beside a null."""
    file = parquet({"customer_phone": [4155550100.0, None]})
    assert rows_of(open_contacts(file, numbers="national")) == [["4155550100"], [""]]
    file.seek(0)
    assert "row 1, column customer_phone: is a decimal" in refusal(lambda: rows_of(open_contacts(file)))

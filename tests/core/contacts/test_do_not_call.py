"""A do-not-call list is understood as a whole, or nobody is called."""

from __future__ import annotations

import gzip
import io
from decimal import Decimal
from typing import Any

import pytest

from formant_provider.core.contacts.do_not_call import open_numbers, read_do_not_call
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.tables.file_kinds import FileForm
from support.refusals import refusal

NUMBER, OTHER = "+14155552671", "+919876543210"


def read(content: bytes | str, **options: Any) -> list[Any]:
    raw = content if isinstance(content, bytes) else content.encode()
    return list(open_numbers(io.BytesIO(raw), FileForm(**options)))


@pytest.mark.parametrize(
    "text",
    [
        f"{NUMBER}\n\n{OTHER}\n",
        f"customer_phone\r\n{NUMBER}\r\n{OTHER}",
        f"since,customer_phone\n2024,{NUMBER}\n2025,{OTHER}\n2026,\n",
        f"since;customer_phone\n2024;{NUMBER}\n2025;{OTHER}\n",
        f'since;"customer_phone"\n2024;"{NUMBER}"\n2025;{OTHER}\n',
        f'\ufeff"customer_phone"\n{NUMBER}\n{OTHER}\n',
        f"\u00a0customer_phone\u00a0\n{NUMBER}\n{OTHER}\n",
        f"phone\n{NUMBER}\n{OTHER}\n",
        f"Telefonnummer\n{NUMBER}\n{OTHER}\n",
        f"phone_e164\n{NUMBER}\n{OTHER}\n",
        f"Do not call (2026)\n{NUMBER}\n{OTHER}\n",
        f"#\n{NUMBER}\n{OTHER}\n",
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_list_of_numbers_is_a_column(text: str, delimiter: str) -> None:
    """One number a line under any header or none, or a table with the same column as the contacts."""
    for content in (text.encode(), gzip.compress(text.encode())):
        assert read(content, delimiter=delimiter) == [NUMBER, OTHER]


@pytest.mark.parametrize(
    "first", ["4155552671", "9.19876543210E+11", "1E+10", "x4155552671", "+1 415 555 2671 ext 5", "nan", "5"]
)
def test_an_entry_is_never_taken_for_a_header(first: str) -> None:
    """What cannot be read in the first line means somebody all the same."""
    assert read(f"{first}\n{NUMBER}\n") == [first, NUMBER]
    assert ": entry 1" in refusal(
        lambda: read_do_not_call(read(f"{first}\n{NUMBER}\n"), NumberReader()), "suppress"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{NUMBER},Rahul\n", "row 1: has 2 cells; expected a column customer_phone or a single one"),
        (f"a,customer_phone\n{NUMBER}\n", "row 2: has 1 cells; expected 2 cells"),
        (f"\n{NUMBER}\n{NUMBER},Rahul\n", "row 3: has 2 cells"),
        (f"{NUMBER}\0", "NUL"),
        (f"{NUMBER}\n".encode("utf-16"), "is UTF-16"),
        (f"{NUMBER}\nRen\u00e9e".encode("cp1252"), "line 2: is not UTF-8"),
    ],
)
def test_a_list_of_numbers_is_not_guessed_at(text: bytes | str, told: str) -> None:
    """A do-not-call list that is half understood would ring somebody."""
    assert told in refusal(lambda: read(text), "suppress")


@pytest.mark.parametrize(
    "columns",
    [
        {"customer_phone": [NUMBER, None, OTHER], "why": [b"x", b"y", b"z"]},
        {"number": [NUMBER, None, OTHER]},
        {"n": [14155552671, None, 919876543210]},
        {"n": [14155552671.0, None, 919876543210.0]},
    ],
)
def test_a_list_may_be_parquet(columns: dict[str, Any]) -> None:
    """Text, integers, and floats where it is said what their digits mean; other columns do not matter."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    file.seek(0)
    numbers = read_do_not_call(open_numbers(file), NumberReader(numbers="e164_without_plus"))
    assert numbers == {int(NUMBER), int(OTHER)}


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"a": [NUMBER], "b": ["x"]}, "has 2 columns; expected a column customer_phone"),
        ({"n": "float32"}, "short floats"),
    ],
)
def test_parquet_that_could_be_misread_is_refused(columns: dict[str, Any], told: str) -> None:
    """There is no telling which column it is, or which digits were lost."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    made = {"n": pyarrow.array([14155552671.0], pyarrow.float32())} if "n" in columns else columns
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(made), file)
    file.seek(0)
    assert told in refusal(lambda: list(open_numbers(file)), "suppress")


EMPTY_FILES = [b"", b"\n\n", b"customer_phone\n", b"phone\n", gzip.compress(b"", mtime=0)]


@pytest.mark.parametrize("entries", [[], [""], [None, " ", float("nan")], iter(()), *map(read, EMPTY_FILES)])
def test_a_list_without_a_number_is_lost_and_not_empty(entries: Any) -> None:
    """Nobody is called without it; a file of a header alone is what a failed export leaves."""
    assert "holds no number" in refusal(lambda: read_do_not_call(entries, NumberReader()), "suppress")


@pytest.mark.parametrize(
    ("entry", "numbers", "is_read"),
    [
        ("4915123456789", None, False),
        (4915123456789, None, False),
        ("4915123456789", "e164_without_plus", True),
        (4915123456789, "e164_without_plus", True),
        (4915123456789.0, "e164_without_plus", True),
        (Decimal("4915123456789"), "e164_without_plus", True),
        (15123456789, "national", True),
        ("015123456789", None, True),
        ("+4915123456789", None, True),
        ("+49015123456789", None, True),
        ("+49 151 23456789", None, True),
        (4915123456789.0, None, False),
        ("4915123456789.0", "e164_without_plus", True),
        ("4915123456789.0", None, False),
        ("4.91512E+12", "e164_without_plus", False),
        ({"customer_phone": "+4915123456789"}, None, False),
        (("+4915123456789",), None, False),
        (b"+4915123456789", None, False),
        (True, None, False),
    ],
)
def test_an_entry_means_the_same_phone_as_a_contact_or_is_refused(
    entry: Any, numbers: Any, is_read: bool
) -> None:
    """It is read by the same rules, so that it suppresses whom it means, and is never void."""
    reader = NumberReader("DE", numbers)
    if is_read:
        assert read_do_not_call([entry], reader) == {4915123456789}
    else:
        assert "1 entry cannot be read" in refusal(lambda: read_do_not_call([entry], reader), "suppress")


def test_an_ambiguous_entry_is_told_with_the_way_out() -> None:
    """The error counts reasons, names positions and says what to write."""
    told = refusal(lambda: read_do_not_call([NUMBER, 4915123456789, "x"], NumberReader("DE")), "suppress")
    assert "2 entries cannot be read as numbers (1 ambiguous_number, 1 not_e164): first entries 2, 3" in told
    assert 'numbers="e164_without_plus"' in told


def test_it_is_counted_by_phones() -> None:
    """Two spellings of one phone, and an entry that comes twice, are one number."""
    numbers = read_do_not_call([NUMBER, NUMBER, "+442079460123", "+4402079460123", ""], NumberReader())
    assert numbers == {int(NUMBER), 442079460123}

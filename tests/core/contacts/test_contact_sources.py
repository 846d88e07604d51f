from __future__ import annotations

import codecs
import csv
import gzip
import io
import math
import random
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.core.contacts.sources import contacts_of, open_contacts
from formant_provider.core.tables.csv_table import as_csv
from support.contact_tables import numbered, read, rows_of
from support.refusals import refusal

NUMBER = "+14155552671"
HEADER = "customer_phone,name"


class Stream(io.RawIOBase):
    """A file that can only be read on, and gives no more than a byte at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, 1))


# CSV that is read right


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_line_ends_marks_and_gzip_make_no_difference(
    end: str, mark: bytes, pack: Callable[[bytes], bytes]
) -> None:
    """Whatever program wrote the file, its rows are the same, also from a stream that only goes on."""
    text = end.join([HEADER, f'{NUMBER},"Lopez, Ana"', f'{NUMBER},"say ""hi"""', f"{NUMBER},नमस्ते"])
    packed = pack(mark + text.encode())
    wanted = [[NUMBER, "Lopez, Ana"], [NUMBER, 'say "hi"'], [NUMBER, "नमस्ते"]]
    for file in (io.BytesIO(packed), Stream(packed)):
        contacts = open_contacts(file)
        assert contacts.columns == ("customer_phone", "name")
        assert numbered(contacts) == [(None, row, cells) for row, cells in enumerate(wanted, 2)]
        assert not file.closed, "who opened it closes it"


def test_a_cell_may_hold_line_ends() -> None:
    """A newline within quotes belongs to the cell, and the row stays one row."""
    assert rows_of(read(f'{HEADER}\r\n{NUMBER},"a\nb\r\nc\rd"\r\n{NUMBER},e')) == [
        [NUMBER, "a\nb\r\nc\rd"],
        [NUMBER, "e"],
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ":"])
def test_another_delimiter_may_be_named(delimiter: str) -> None:
    """With its delimiter said, a file of semicolons or tabs is read right."""
    text = f"customer_phone{delimiter}name\n{NUMBER}{delimiter}a,b\n"
    assert rows_of(read(text, delimiter=delimiter)) == [[NUMBER, "a,b"]]


def test_blank_lines_count_as_rows_but_are_none() -> None:
    """Row numbers are those of a spreadsheet, also with blank lines before the header."""
    contacts = read(f"\n\r\n{HEADER}\n\n{NUMBER},a\n")
    assert numbered(contacts) == [(None, 4, []), (None, 5, [NUMBER, "a"])]


def test_a_header_s_spaces_are_no_part_of_its_names() -> None:
    """A name that ends in a space is never meant."""
    assert read(" customer_phone , name\n").columns == ("customer_phone", "name")


def test_a_file_of_a_header_alone_has_no_contacts() -> None:
    """Nobody to call is no error here."""
    assert rows_of(read(HEADER)) == rows_of(read(HEADER + "\r\n")) == []


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=900 // width)
)


@given(ROWS)
def test_what_is_written_is_read_again(rows: list[list[str]]) -> None:
    """Our writer, the csv module and our reader agree on any cells."""
    keyed = [[NUMBER, *row] for row in rows]
    written = as_csv(list(zip(*keyed, strict=True)))
    assert list(csv.reader(io.StringIO(written.decode(), newline=""))) == keyed
    columns = ",".join(["customer_phone", *(f"c{place}" for place in range(len(rows[0])))])
    assert rows_of(read(f"{columns}\r\n".encode() + written)) == keyed
    text = io.StringIO(newline="")
    csv.writer(text).writerows(keyed)
    assert rows_of(read(f"{columns}\r\n{text.getvalue()}")) == keyed


# CSV that is refused


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\r\n\n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        ("customer_phone;name\n", "separated by semicolons; say delimiter=';'"),
        ('"customer_phone";"name"\n"x";"y"\n', "separated by semicolons; say delimiter=';'"),
        ("name\tcustomer_phone\n", "separated by tabs; say delimiter='\\t'"),
        ("name,phone\n", "has no column customer_phone; its columns are name, phone"),
        ("Customer_Phone\n", "has no column customer_phone; its columns are Customer_Phone"),
        (f"{NUMBER},Rahul\n{NUMBER},Ana\n", "has no column customer_phone, or no header at all"),
        ("customer_phone,name,name\n", "column 3 has the same name as column 2"),
        ("customer_phone,name,customer_phone\n", "column 3 has the same name as column 1"),
        ("customer_phone,,name\n", "column 2 has no name"),
        (f'{HEADER}\n{NUMBER},a\n{NUMBER},"Rahul\n', "row 3: opens a quote that is never closed"),
        (f'{HEADER}\n\n{NUMBER},"Rahul"x\n', "row 3: has text behind a closing quote"),
        (f'{HEADER}\n{NUMBER},"{"Rahul " * 30_000}"', "row 2: has a cell of more than 131072 characters"),
        (f"{HEADER}\n{NUMBER},Ra\0hul\n", "byte 35 is a NUL"),
        (f"{HEADER}\n{NUMBER},Rahul\n".encode("utf-16"), "is UTF-16"),
        (f"{HEADER}\n{NUMBER},Rahul\n".encode("utf-16-le"), "byte 1 is a NUL"),
        (f"{HEADER}\n{NUMBER},Jürgen\n".encode("cp1252"), "line 2: is not UTF-8"),
        (f"{HEADER}\n{f'{NUMBER},a' * 9}\n".encode() * 900 + b"\xff", "line 1801: is not UTF-8"),
        (f"{HEADER}\n{NUMBER},\N{WAVING BLACK FLAG}".encode()[:-1], "line 2: is not UTF-8"),
        (b"x" * 200_000, "first line is longer"),
        (gzip.compress(f"{HEADER}\n{NUMBER},Rahul\n".encode(), mtime=0)[:-9], "gzip cannot unpack"),
        (gzip.compress(random.Random(1).randbytes(9_999), mtime=0)[:99] + b"\0" * 99, "gzip cannot unpack"),  # noqa: S311
    ],
)
def test_a_file_that_cannot_be_read_for_sure_is_refused(content: bytes | str, told: str) -> None:
    """The refusal says what is wrong and where, and shows nothing of the file."""
    assert told in refusal(lambda: rows_of(read(content)))


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", " "])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    """What cannot stand between cells is refused."""
    refusal(lambda: read(HEADER, delimiter=delimiter), "delimiter")


# Rows in memory


def test_mappings_become_rows_of_all_their_variables() -> None:
    """The header is the union of all variables in their order; what a row does not have is blank."""
    contacts = contacts_of(iter([{"customer_phone": NUMBER, "a": 1}, {"b": "x", "customer_phone": NUMBER}]))
    assert contacts.columns == ("customer_phone", "a", "b")
    assert numbered(contacts) == [(None, 1, [NUMBER, "1", ""]), (None, 2, [NUMBER, "", "x"])]
    assert rows_of(contacts_of([])) == []


def test_values_are_written_as_those_of_a_call() -> None:
    """Numbers, dates and truth read as in a single call; what a data frame calls missing is blank."""
    values = {
        "a": 29000,
        "b": 0.1,
        "c": True,
        "d": Decimal("1E+2"),
        "e": date(2026, 4, 8),
        "f": None,
        "g": math.nan,
    }
    rows = rows_of(contacts_of([{"customer_phone": NUMBER, **values}]))
    assert rows == [[NUMBER, "29000", "0.1", "true", "100", "2026-04-08", "", ""]]


def test_a_number_without_its_plus_is_left_to_the_rules() -> None:
    """A query often has numbers as integers, which a default region can mend."""
    assert rows_of(contacts_of([{"customer_phone": 4155552671}])) == [["4155552671"]]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"customer_phone": NUMBER, "due": ["Rahul"]}, "row 2, column due: must be text"),
        ({"customer_phone": NUMBER, "due": math.inf}, "row 2, column due: must be text"),
        ({"customer_phone": 14155552671.0}, "row 2, column customer_phone: is a decimal; got float"),
        ({"customer_phone": NUMBER, "due": "Ra\0hul"}, "row 2, column due: holds a NUL"),
        ({"customer_phone": NUMBER, "due": "Rahul\ud800"}, "row 2, column due: holds a NUL, or half"),
        ({"customer_phone": NUMBER, "": "Rahul"}, "has no name"),
        ({"customer_phone": NUMBER, 7: "Rahul"}, "names of variables must be text"),
        ("Rahul", "row 2: must be a mapping; got str"),
        ([("customer_phone", NUMBER)], "row 2: must be a mapping; got list"),
        (None, "row 2: must be a mapping; got NoneType"),
    ],
)
def test_rows_that_cannot_be_written_are_refused(row: Any, told: str) -> None:
    """The refusal names row, column and type."""
    assert told in refusal(lambda: rows_of(contacts_of([{"customer_phone": NUMBER, "due": 1}, row])))


def test_rows_without_numbers_are_refused() -> None:
    """Nobody can be called without the one column that is needed."""
    assert "has no column customer_phone" in refusal(lambda: contacts_of([{"name": "Rahul"}]))

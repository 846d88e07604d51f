"""A file is unpacked to its end, or refused; and what Excel writes above a header is no row."""

from __future__ import annotations

import bz2
import gzip
import io
import random
from collections.abc import Callable

import pytest

from formant_provider.core.contacts.do_not_call import open_numbers
from support.contact_tables import read, rows_of
from support.refusals import refusal

NUMBERS = [f"+1415555{number:04}" for number in range(3000)]
TEXT = "customer_phone,n\n" + "".join(f"{number},{random.Random(number).random()}\n" for number in NUMBERS)  # noqa: S311


def zstd(content: bytes) -> bytes:
    compressed: bytes = pytest.importorskip("zstandard").ZstdCompressor().compress(content)
    return compressed


PACKERS = pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd])


@PACKERS
def test_a_file_is_unpacked_whatever_packed_it(pack: Callable[[bytes], bytes]) -> None:
    """Known by its content, also when it was packed in several pieces."""
    content = TEXT.encode()
    for packed in (pack(content), pack(content[:50_000]) + pack(b"") + pack(content[50_000:])):
        assert [row[0] for row in rows_of(read(packed))] == NUMBERS
        assert list(open_numbers(io.BytesIO(packed))) == NUMBERS


@PACKERS
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.9999])
def test_a_file_that_is_cut_off_is_never_read_as_a_shorter_one(
    pack: Callable[[bytes], bytes], kept: float
) -> None:
    """People would be missing, and nobody would know."""
    packed = pack(TEXT.encode())
    assert "is damaged or cut off" in refusal(lambda: rows_of(read(packed[: int(len(packed) * kept)])))


@PACKERS
def test_a_file_that_is_damaged_is_refused(pack: Callable[[bytes], bytes]) -> None:
    """Whatever the library makes of it."""
    packed = bytearray(pack(TEXT.encode()))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(64)
    assert "cannot unpack it" in refusal(lambda: rows_of(read(bytes(packed))))


@PACKERS
def test_what_follows_a_packed_file_is_no_end_of_it(pack: Callable[[bytes], bytes]) -> None:
    """Text behind it is rows that somebody meant to add."""
    assert "is damaged or cut off" in refusal(
        lambda: rows_of(read(pack(TEXT.encode()) + b"+14155550100,x\n"))
    )


def test_frames_that_hold_nothing_are_skipped() -> None:
    """Parallel packers of Zstandard put one in front."""
    assert len(rows_of(read(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd(TEXT.encode())))) == 3000


@PACKERS
@pytest.mark.parametrize(
    ("inner", "told"),
    [
        (b"PAR1" + bytes(50), "compressed once more; unpack it"),
        (b"PK\x03\x04" + bytes(50), "compressed once more; unpack it"),
        (b'{"customer_phone": "x"}\n', "is JSON"),
        ("customer_phone\n".encode("utf-16"), "is UTF-16"),
    ],
)
def test_what_is_packed_has_to_be_text(pack: Callable[[bytes], bytes], inner: bytes, told: str) -> None:
    """The refusal says what it is."""
    assert told in refusal(lambda: rows_of(read(pack(inner))))


@pytest.mark.parametrize("line", ["sep=;\n", "sep=;\r\n", '"sep=;"\r\n', "SEP=;\n", "\ufeffsep=;\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_line_that_names_the_delimiter_is_no_row(line: str, delimiter: str) -> None:
    """Excel shows it to nobody, so the header is row 1; no delimiter need be said."""
    contacts = read(f"{line}customer_phone;n\n+14155550100;a,b\n", delimiter=delimiter)
    assert contacts.columns == ("customer_phone", "n")
    (block,) = contacts.blocks
    assert (block.first_row, block.rows) == (2, [["+14155550100", "a,b"]])
    assert list(open_numbers(io.BytesIO(f"{line}x;customer_phone\na;+14155550100\n".encode()))) == [
        "+14155550100"
    ]


def test_a_line_of_text_that_cannot_be_read_counts_all_lines() -> None:
    """A text editor shows the line with the delimiter."""
    assert "line 3: is not UTF-8" in refusal(lambda: rows_of(read(b"sep=;\ncustomer_phone\n\xff\n")), None)


def test_a_tab_may_be_named() -> None:
    """As Excel itself does."""
    assert rows_of(read("sep=\t\ncustomer_phone\tn\n+14155550100\ta\n")) == [["+14155550100", "a"]]


def test_a_line_that_names_the_wrong_delimiter_is_told() -> None:
    """The header shows another."""
    assert "separated by semicolons" in refusal(lambda: read("sep=,\ncustomer_phone;n\n"), None)

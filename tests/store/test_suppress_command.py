"""``suppress add|remove|list``: what is read, what is printed, and what never is."""

from __future__ import annotations

import argparse
import gzip
import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from formant_provider.api.errors import FormantError, InputNotFound, InvalidInput
from formant_provider.store.commands import suppress
from formant_provider.store.store import Store
from formant_provider.store.suppressions import digests_of, listing
from support.databases import sqlite_database
from support.stores import new_store

ASHA, RAVI, LEE = "+14155550100", "+14155550101", "+442079460018"
Command = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with sqlite_database(tmp_path) as database:
        yield new_store(database)


@pytest.fixture
def command(store: Store, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run it as the command line of the store does, and return what it prints."""
    parser = argparse.ArgumentParser()
    suppress.add_to(parser.add_subparsers())

    def run(*arguments: str) -> str:
        options = parser.parse_args(["suppress", *arguments])
        assert options.run(options, store) == 0
        return capsys.readouterr().out

    return run


def why(by: str = "maria") -> tuple[str, ...]:
    return "--reason", "asked by letter", "--by", by


def on_list(store: Store) -> set[str]:
    return {entry.recipient for entry in listing(store)}


def test_numbers_are_added_listed_and_removed(command: Command, store: Store) -> None:
    """The list has the digest's beginning, the date, the reason and who; no number."""
    assert command("add", ASHA, "+1 (415) 555-0101", *why(), "--default-country", "us") == (
        "2 added, 0 already on it.\n"
    )
    assert command("add", RAVI, LEE, *why()) == "1 added, 1 already on it.\n"
    shown = command("list")
    assert len(shown.splitlines()) == 3
    for line, entry in zip(shown.splitlines(), listing(store), strict=True):
        since = f"{entry.since:%Y-%m-%d %H:%M}"
        assert line == f"{entry.recipient[:8]}  since {since} UTC  by maria: asked by letter"
    assert not re.search(r"4155550|2079460", shown)
    assert command("remove", ASHA, "+14155550109", *why()) == "1 removed, 1 not on it.\n"
    assert on_list(store) == set(digests_of(store, [14155550101, 442079460018]))


def test_given_numbers_are_compared_with_the_list(command: Command) -> None:
    """Whether each is on it, and since when and why."""
    command("add", ASHA, *why())
    first, second = command("list", ASHA, RAVI).splitlines()
    assert re.fullmatch(r"\+14155550100  since 20..-..-.. ..:.. UTC  by maria: asked by letter", first)
    assert second == "+14155550101  not on the list"


@pytest.mark.parametrize("form", ["csv", "gz", "parquet", "folder", "pattern"])
def test_files_are_read_as_those_of_operators(
    form: str, command: Command, store: Store, tmp_path: Path
) -> None:
    """Any kind of file, a folder of them, or a pattern; with a column of the name, or a single one."""
    text = f"who;customer_phone\nx;{ASHA}\ny;{RAVI}\n"
    folder = tmp_path / "lists"
    folder.mkdir()
    places = {"csv": "a.csv", "gz": "a.csv.gz", "parquet": "a.parquet", "folder": ".", "pattern": "*.csv"}
    if form == "gz":
        (folder / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    elif form == "parquet":
        pytest.importorskip("pyarrow")
        pandas = pytest.importorskip("pandas")
        pandas.DataFrame({"customer_phone": [ASHA, RAVI]}).to_parquet(folder / "a.parquet")
    else:
        (folder / "a.csv").write_text(text)
    place = folder if form == "folder" else folder / places[form]
    assert command("add", str(place), LEE, *why()) == "3 added, 0 already on it.\n"
    assert len(on_list(store)) == 3


def test_standard_input_is_read(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """So no number is in the history of the shell."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(f"{ASHA}\n{RAVI}\n".encode())))
    assert command("add", "-", *why()) == "2 added, 0 already on it.\n"
    assert sys.stdin.buffer.read() == b""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{ASHA}\n+1415\n{RAVI}x\n", "2 entries cannot be read as numbers"),
        ("customer_phone\n", "holds no number"),
        ("", "holds no number"),
        (f"a,b\n{ASHA},{RAVI}\n", "expected a column customer_phone"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_as_a_whole(
    text: str, told: str, command: Command, store: Store, tmp_path: Path
) -> None:
    """With the rows at fault, the name of the file, and no number; nothing of it is on the list."""
    path = tmp_path / "list.csv"
    path.write_text(text)
    for action in ("add", "remove", "list"):
        options = () if action == "list" else why()
        with pytest.raises(InvalidInput, match=re.escape(f"{path}: ")) as caught:
            command(action, LEE, str(path), *options)
        assert told in str(caught.value)
        assert not re.search(r"4155550|2079460", str(caught.value))
    assert on_list(store) == set()


@pytest.mark.parametrize(
    "slip", ["+1415555010O", "+141555501000000", "tel: 555 0100 x", "+1 415 5550100 ext 5", "+1415555" * 99]
)
def test_a_number_with_a_slip_is_not_repeated(slip: str, command: Command) -> None:
    """It is not taken for a file that is missing, whose name would be printed."""
    with pytest.raises(InvalidInput, match=r"^NUMBER: 1 entry cannot be read") as caught:
        command("add", ASHA, slip, *why())
    assert "555" not in str(caught.value)


def test_a_missing_file_is_named(command: Command, tmp_path: Path) -> None:
    """Even where its name has as many digits as a number."""
    with pytest.raises(InputNotFound, match=r"20260301\.csv: No such file"):
        command("add", str(tmp_path / "20260301.csv"), *why())


@pytest.mark.parametrize("number", ["1\u2013415\u2013555\u20130125", "1,415,555,0125", "4155-50-12"])
def test_a_reason_holds_no_number_however_it_is_written(number: str, command: Command) -> None:
    """With any signs between the digits, or in the shape of a date that no calendar has."""
    for options in (("--reason", f"called by {number}"), ("--reason", "letter", "--by", number)):
        with pytest.raises(FormantError, match="may be a phone number"):
            command("add", ASHA, *options)


def test_a_missing_file_is_named_once(command: Command, tmp_path: Path) -> None:
    """In one short sentence; a task's may be written yet."""
    path = tmp_path / "nothing.csv"
    with pytest.raises(InputNotFound) as caught:
        command("add", str(path), *why())
    assert str(caught.value) == f"{path}: No such file or directory"


@pytest.mark.parametrize("place", ["s3://bucket/list.csv", "https://example.com/list.csv"])
def test_a_place_that_is_not_on_this_machine_is_refused(place: str, command: Command) -> None:
    """Rather than being looked for in a folder of that name."""
    with pytest.raises(InvalidInput, match="must be a file on this machine; - reads what a pipe brings"):
        command("add", place, *why())


def test_reason_and_name_hold_no_number(command: Command, store: Store) -> None:
    """Both are stored as they are; and nothing is read before they are checked."""
    for options in (("--reason", f"called by {LEE}"), ("--reason", "letter", "--by", LEE)):
        with pytest.raises(FormantError, match="may be a phone number") as caught:
            command("add", "/nowhere", *options)
        assert "7946" not in str(caught.value)
    assert on_list(store) == set()

"""The page on spreadsheets says what was seen: its tables are compared with files and libraries."""

from __future__ import annotations

import csv
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from support.pages import code, table

MADE = Path(__file__).resolve().parents[1] / "files" / "spreadsheets" / "made"
LOCALES = ("en-US", "en-IN", "de-DE", "fr-FR")
# The file and the column that each row of the table is about.
SEEN = [
    ("world", 0), ("zeros", 0), ("britain", 0), ("rounded", 0), ("thousands", 0), ("exponents", 0),
    ("cells", 0), ("cells", 2), ("cells", 3),
]  # fmt: skip
OFFICE = table("In the list", "en-US")
READERS = {code(row[0])[0]: row[1:] for row in table("Read with")}
NUMBER = "442079460018"


def second_contact(name: str) -> list[str]:
    with (MADE / name).open(newline="", encoding="utf-8") as file:
        return [cell.replace("\u00a0", " ") for cell in list(csv.reader(file))[2]]


@pytest.mark.parametrize(("row", "seen"), list(zip(OFFICE, SEEN, strict=True)), ids=lambda value: value[0])
def test_what_libreoffice_does_is_what_it_did(row: list[str], seen: tuple[str, int]) -> None:
    """Each cell of the table is that of the file which was saved in that locale."""
    stem, column = seen
    found = [second_contact(f"{stem}-{locale}.csv")[column] for locale in LOCALES]
    assert [code(cell)[0] for cell in row[1:]] == found


def a_list(folder: Path, numbers: list[str], call: str) -> Path:
    """A file of one column that a reader can read: a workbook of text, or CSV."""
    rows = [["customer_phone", "customer_name"], *([number or None, "Asha"] for number in numbers)]
    if "_csv" in call:
        with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        return folder / "list.csv"
    book = pytest.importorskip("openpyxl").Workbook()
    for row in rows:
        book.active.append(row)
    book.save(folder / "list.xlsx")
    return folder / "list.xlsx"


def first_number(call: str, file: Path) -> str:
    """The first number, as a call from the page reads it."""
    library = call.split(".", maxsplit=1)[0]
    names = {library: pytest.importorskip(library), "file": str(file)}
    if library == "pyarrow":
        import_module("pyarrow.csv")
    if call.startswith("polars.read_excel"):
        pytest.importorskip("fastexcel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas announces another reader of workbooks
        return str(_first(library, eval(call, names)))  # noqa: S307 - our own pages


def _first(library: str, known: Any) -> Any:
    """Take the first cell below the header from what a library returns."""
    if library == "pandas":
        return known.iloc[0, 0]
    if library == "polars":
        return known[0, 0]
    if library == "duckdb":
        return known.fetchall()[0][0]
    if library == "pyarrow":
        return known[0][0].as_py()
    return (
        known.active["A2"].value if library == "openpyxl" else known.get_sheet_by_index(0).to_python()[1][0]
    )


@pytest.mark.parametrize("call", READERS)
def test_what_data_frames_do_is_what_they_do(call: str, tmp_path: Path) -> None:
    """Each cell of the table is what the library reads; as text, the number is as it was written."""
    lists = ([f"+{NUMBER}"] * 10, [f"00{NUMBER}"] * 10, [*[f"+{NUMBER}"] * 9, ""])
    *shown, remedy = READERS[call]
    read = [first_number(call, a_list(tmp_path, numbers, call)) for numbers in lists]
    assert [code(cell)[0] for cell in shown] == read
    as_text = code(remedy)[0] if code(remedy) else call
    assert [first_number(as_text, a_list(tmp_path, numbers, call)) for numbers in lists] == [
        numbers[0] for numbers in lists
    ]

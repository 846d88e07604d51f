"""What pandas, polars, duckdb, pyarrow and openpyxl write of ten contacts is read back right, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from batches.batch_call import place, uploaded
from batches.real_files import RIGHT, WORLD, cases, outcome

from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor

# Writes the ten contacts to a path.
Writer: TypeAlias = Callable[[Path], Any]

NAMES, NUMBERS = list(RIGHT["world"]), list(RIGHT["world"].values())
WITHOUT_PLUS = 'numbers="e164_without_plus"'


def pandas() -> Any:
    return pytest.importorskip("pandas")


def polars() -> Any:
    return pytest.importorskip("polars")


def arrow(part: str) -> Any:
    return pytest.importorskip(f"pyarrow.{part}")


def columns(kind: type = str) -> dict[str, list[Any]]:
    """The contacts by column, with their numbers as text, integers or floats."""
    return {"customer_phone": [kind(number) for number in NUMBERS], "customer_name": NAMES}


def arrow_table(kind: type = str) -> Any:
    return pytest.importorskip("pyarrow").table(columns(kind))


def in_duckdb(path: Path, kind: str, form: str) -> None:
    """Have duckdb read the good list and write it, with the numbers as a kind of its own."""
    rows = f"SELECT * REPLACE (customer_phone::{kind} AS customer_phone) FROM read_csv('{WORLD}')"  # noqa: S608
    pytest.importorskip("duckdb").connect().execute(f"COPY ({rows}) TO '{path}' ({form})")


def with_zeros(path: Path) -> Path:
    """Write the good list once more, with 00 for each plus sign, beside a path."""
    text = re.sub(r"^\+", "00", WORLD.read_text(encoding="utf-8"), flags=re.MULTILINE)
    path.with_name("zeros.csv").write_text(text, encoding="utf-8")
    return path.with_name("zeros.csv")


def workbook(path: Path, cell: Callable[[str], Any]) -> Path:
    book = pytest.importorskip("openpyxl").Workbook()
    for row in zip(["customer_phone", *map(cell, NUMBERS)], ["customer_name", *NAMES], strict=True):
        book.active.append(row)
    book.save(path)
    return path


def read_excel(path: Path, **options: Any) -> Any:
    """What pandas reads of a workbook whose numbers are text."""
    return pandas().read_excel(workbook(path.with_name("text.xlsx"), str), engine="openpyxl", **options)


def to_excel(path: Path, kind: type = str) -> None:
    pytest.importorskip("openpyxl")
    pandas().DataFrame(columns(kind)).to_excel(path, index=False)


def polars_to_excel(path: Path) -> None:
    pytest.importorskip("xlsxwriter")
    polars().DataFrame(columns()).write_excel(path)


# By what was done, with the suffix of the file.
KEEPS: Mapping[str, Writer] = {
    "pandas text.csv": lambda path: pandas().DataFrame(columns()).to_csv(path, index=False),
    "pandas text.parquet": lambda path: pandas().DataFrame(columns()).to_parquet(path),
    "pandas objects.parquet": lambda path: pandas().DataFrame(columns(), dtype=object).to_parquet(path),
    "pandas text.xlsx": to_excel,
    "pandas opened as text.csv": lambda path: pandas().read_csv(WORLD, dtype=str).to_csv(path, index=False),
    "pandas opened Excel as text.csv": lambda path: read_excel(path, dtype=str).to_csv(path, index=False),
    "polars text.csv": lambda path: polars().DataFrame(columns()).write_csv(path),
    "polars text.parquet": lambda path: polars().DataFrame(columns()).write_parquet(path),
    "polars text.xlsx": polars_to_excel,
    "polars opened.csv": lambda path: polars().read_csv(WORLD).write_csv(path),
    "duckdb opened.csv": lambda path: in_duckdb(path, "VARCHAR", "FORMAT csv, HEADER"),
    "duckdb opened.parquet": lambda path: in_duckdb(path, "VARCHAR", "FORMAT parquet"),
    "pyarrow text.csv": lambda path: arrow("csv").write_csv(arrow_table(), path),
    "pyarrow text.parquet": lambda path: arrow("parquet").write_table(arrow_table(), path),
    "pyarrow opened as text.csv": lambda path: arrow("csv").write_csv(
        arrow("csv").read_csv(
            WORLD,
            convert_options=arrow("csv").ConvertOptions(column_types={"customer_phone": "string"}),
        ),
        path,
    ),
    "openpyxl text.xlsx": lambda path: workbook(path, str),
}
LOSES: Mapping[str, Writer] = {
    "pandas integers.csv": lambda path: pandas().DataFrame(columns(int)).to_csv(path, index=False),
    "pandas floats.csv": lambda path: pandas().DataFrame(columns(float)).to_csv(path, index=False),
    "pandas integers.parquet": lambda path: pandas().DataFrame(columns(int)).to_parquet(path),
    "pandas floats.parquet": lambda path: pandas().DataFrame(columns(float)).to_parquet(path),
    "pandas integers.xlsx": lambda path: to_excel(path, int),
    "pandas floats.xlsx": lambda path: to_excel(path, float),
    "pandas opened.csv": lambda path: pandas().read_csv(WORLD).to_csv(path, index=False),
    "pandas opened 00.csv": lambda path: pandas().read_csv(with_zeros(path)).to_csv(path, index=False),
    "pandas opened Excel.csv": lambda path: read_excel(path).to_csv(path, index=False),
    "polars integers.csv": lambda path: polars().DataFrame(columns(int)).write_csv(path),
    "polars floats.csv": lambda path: polars().DataFrame(columns(float)).write_csv(path),
    "polars integers.parquet": lambda path: polars().DataFrame(columns(int)).write_parquet(path),
    "polars opened 00.csv": lambda path: polars().read_csv(with_zeros(path)).write_csv(path),
    "duckdb integers.csv": lambda path: in_duckdb(path, "BIGINT", "FORMAT csv, HEADER"),
    "duckdb floats.csv": lambda path: in_duckdb(path, "DOUBLE", "FORMAT csv, HEADER"),
    "duckdb integers.parquet": lambda path: in_duckdb(path, "BIGINT", "FORMAT parquet"),
    "duckdb large integers.parquet": lambda path: in_duckdb(path, "HUGEINT", "FORMAT parquet"),
    "pyarrow integers.csv": lambda path: arrow("csv").write_csv(arrow_table(int), path),
    "pyarrow opened.csv": lambda path: arrow("csv").write_csv(arrow("csv").read_csv(WORLD), path),
    "pyarrow opened.parquet": lambda path: arrow("parquet").write_table(arrow("csv").read_csv(WORLD), path),
    "openpyxl integers.xlsx": lambda path: workbook(path, int),
    "openpyxl floats.xlsx": lambda path: workbook(path, float),
}


def made(name: str, write: Writer, folder: Path) -> Path:
    """The file that a program makes."""
    path = folder / f"made{Path(name).suffix}"
    if path.suffix == ".xlsx":
        pytest.importorskip("python_calamine")
    write(path)
    return path


@pytest.mark.parametrize("name", cases(KEEPS))
def test_what_keeps_the_plus_sign_is_called_as_it_is(name: str, tmp_path: Path) -> None:
    """A column of text is read back as the right ten numbers, without a word about them."""
    assert outcome(made(name, KEEPS[name], tmp_path).read_bytes()) == (RIGHT["world"], "")


@pytest.mark.parametrize("name", cases(LOSES))
def test_what_loses_the_plus_sign_is_refused_with_the_remedy(name: str, tmp_path: Path) -> None:
    """A column of numbers calls nobody, and the error says which word is missing."""
    called, refusal = outcome(made(name, LOSES[name], tmp_path).read_bytes())
    assert not called
    assert WITHOUT_PLUS in refusal


@pytest.mark.parametrize("name", cases(LOSES))
def test_what_loses_the_plus_sign_is_read_with_the_remedy(name: str, tmp_path: Path) -> None:
    """Told that only plus signs are missing, the right ten numbers are called: whole floats are whole."""
    content = made(name, LOSES[name], tmp_path).read_bytes()
    assert outcome(content, numbers="e164_without_plus") == (RIGHT["world"], "")


def test_formulas_that_nobody_calculated_are_refused_with_the_remedy(tmp_path: Path) -> None:
    """A workbook of openpyxl has a formula without its value, so that there is no number in the file."""
    pytest.importorskip("python_calamine")
    called, refusal = outcome(workbook(tmp_path / "made.xlsx", "={}".format).read_bytes())
    assert not called
    assert "formula" in refusal


def test_00_that_was_kept_is_read_as_a_plus_sign(tmp_path: Path) -> None:
    """A column of text with 00 is right wherever 00 is dialled before a country code."""
    path = tmp_path / "made.csv"
    polars().read_csv(with_zeros(path), infer_schema=False).write_csv(path)
    assert outcome(path.read_bytes(), default_country="GB") == (RIGHT["world"], "")


@pytest.mark.parametrize("name", ["polars opened.csv", "duckdb opened.parquet", "pandas opened as text.csv"])
def test_a_batch_call_calls_the_ten(
    name: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The numbers that arrive at the API are those of the good list, each with its name."""
    place(channel, str(made(name, KEEPS[name], tmp_path)))
    assert {row["customer_name"]: row["customer_phone"] for row in uploaded(sandbox)} == RIGHT["world"]


@pytest.mark.parametrize("name", ["pandas opened.csv", "pyarrow opened.parquet", "polars opened 00.csv"])
def test_a_batch_call_sends_nothing_until_it_is_told(
    name: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A list without its plus signs fails before anything is sent; with ``numbers=`` the ten are called."""
    file = str(made(name, LOSES[name], tmp_path))
    assert place(channel, file).state == "failed"
    assert sandbox.requests == []
    place(channel, file, numbers="e164_without_plus")
    assert {row["customer_name"]: row["customer_phone"] for row in uploaded(sandbox)} == RIGHT["world"]

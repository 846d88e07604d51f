"""A batch call from a workbook, from parts and from a frame: the right people are called, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import NUMBERS, PEOPLE, place, read_csv, uploaded, write_csv

from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor


def workbook(path: Path, rows: list[list[Any]]) -> str:
    book = pytest.importorskip("openpyxl").Workbook()
    book.active.title = "March"
    for row in rows:
        book.active.append(row)
    book.create_sheet("Notes")
    book.save(path)
    return str(path)


def test_a_workbook_is_called(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """From the column that is named, as customer_phone; the log counts numbers that are no text."""
    pytest.importorskip("python_calamine")
    rows = [["Phone", "name"], [NUMBERS[0], "Asha"], [int(NUMBERS[1]), "Ravi"], [NUMBERS[2], "Nina"]]
    run = place(
        channel,
        workbook(tmp_path / "c.xlsx", rows),
        phone_column="Phone",
        sheet="March",
        numbers="e164_without_plus",
        suppress=write_csv(tmp_path / "s.csv", [["Phone", "since"], [NUMBERS[2], "2026"]]),
    )
    assert run.state == "success", run.log_text
    assert uploaded(sandbox) == [
        {"customer_phone": NUMBERS[0], "name": "Asha"},
        {"customer_phone": NUMBERS[1], "name": "Ravi"},
    ]
    assert "Phone numbers that are stored as numbers, not as text: 1." in run.log_text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sheet": "April"}, "sheet: the workbook has no such sheet; it has 'March', 'Notes'"),
        ({}, "if column 'Phone' holds the numbers, say phone_column='Phone'"),
        ({"phone_column": "Phone"}, "row 3 (not_e164"),
    ],
)
def test_a_workbook_that_is_not_what_it_should_be_calls_nobody(
    options: dict[str, str], told: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The error says what to write."""
    pytest.importorskip("python_calamine")
    run = place(
        channel, workbook(tmp_path / "c.xlsx", [["Phone"], [NUMBERS[0]], [int(NUMBERS[1])]]), **options
    )
    assert (run.state, sandbox.requests) == ("failed", [])
    assert told in str(run.error)
    assert not any(number[1:] in run.log_text for number in NUMBERS)


def test_parts_are_called_and_rejects_name_theirs(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Each in its order, and once: a number in two parts is a duplicate."""
    folder = tmp_path / "2026-01-01"
    folder.mkdir()
    write_csv(folder / "part-0.csv", [["customer_phone"], [NUMBERS[0]]])
    write_csv(folder / "part-1.csv", [["customer_phone"], [NUMBERS[1]], [NUMBERS[0]]])
    (folder / "_SUCCESS").touch()
    rejects = tmp_path / "rejects.csv"
    uri = f"{tmp_path}/{{{{ ds }}}}/part-*.csv"
    run = place(channel, uri, invalid_rows="reject", rejects_uri=str(rejects))
    assert run.state == "success", run.log_text
    assert [row["customer_phone"] for row in uploaded(sandbox)] == list(NUMBERS[:2])
    (row,) = read_csv(rejects)
    assert (row["part"], row["row_number"], row["reason"]) == ("part-1.csv", "3", "duplicate")
    assert "part-1.csv row 3 (duplicate)" in run.log_text


def test_an_empty_folder_calls_nobody_and_is_no_success(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The export is missing; a skipped task would look as if nobody had to be called."""
    run = place(channel, f"{tmp_path}/")
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "contacts: names no file with rows" in str(run.error)


def test_a_frame_is_called_and_a_frame_of_others_is_left_out(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """As the same lists are, and the log shows nothing of them."""
    pandas = pytest.importorskip("pandas")
    run = place(channel, pandas.DataFrame(PEOPLE), suppress=pandas.DataFrame({"number": NUMBERS[1:]}))
    assert run.state == "success", run.log_text
    assert uploaded(sandbox) == PEOPLE[:1]
    assert not any(number[1:] in run.log_text for number in NUMBERS)

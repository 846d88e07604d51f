"""The report can be joined with what was called: it has every row, with what that is known by."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from batches.batch_call import (
    NUMBERS,
    PEOPLE,
    WAIT,
    a_batch_call,
    posts,
    read_csv,
    read_report,
    uploaded,
    wait_for,
    write_csv,
)

from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor

HEADER = ["loan_id", "customer_phone", "branch", "customer_name"]
ROWS: list[list[str]] = [
    HEADER,
    ["L-1", NUMBERS[0], "Pune", "Asha"],
    ["L-2", "+1415", "Agra", "Rahul"],
    [],
    ["L-3", NUMBERS[2], '=1+"1"', "Meera"],
    ["L-4", NUMBERS[0], "Pune", "Asha"],
    ["L-5", "+14155550109", "", "Vikram"],
    ["L-6", NUMBERS[1], "Delhi"],
    ["L-7", NUMBERS[1], "Delhi", " "],
    ["L-8", NUMBERS[1], "हाँ\nand so on", "Ravi"],
]
JOINED: dict[str, Any] = {
    "invalid_rows": "reject",
    "suppress": ["+14155550109"],
    "required_variables": ["customer_name"],
    "reference_column": "loan_id",
    "keep_columns": ["branch"],
    "results_fields": ["duration_seconds"],
}
# Row, last digits, reference, branch, status, reason.
EXPECTED = [
    (2, "*******0120", "L-1", "Pune", "completed", None),
    (3, "**15", "L-2", "Agra", "rejected", "impossible_number"),
    (5, "*******0101", "L-3", '=1+"1"', "no_answer", None),
    (6, "*******0120", "L-4", "Pune", "rejected", "duplicate"),
    (7, "*******0109", "L-5", "", "rejected", "suppressed"),
    (8, None, None, None, "rejected", "wrong_width"),
    (9, "*******0121", "L-7", "Delhi", "rejected", "blank_variable"),
    (10, "*******0121", "L-8", "हाँ\nand so on", "completed", None),
]
COLUMNS = ["row_number", "customer_phone", "reference", "branch", "status", "reason", "duration_seconds"]


def a_list(folder: Path) -> str:
    return write_csv(folder / "contacts.csv", ROWS)


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl.gz", "r.parquet", "r.ndjson"])
def test_every_row_of_the_contacts_has_one_row(name: str, channel: FakeSupervisor, tmp_path: Path) -> None:
    """In their order, called or not, with what was asked to be carried; only blank rows are none."""
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    run = wait_for(channel, a_list(tmp_path), results_uri=f"{tmp_path}/{name}", **JOINED)
    assert run.state == "success", run.log_text
    rows = read_report(tmp_path / name)
    assert [list(row) for row in rows] == [COLUMNS] * len(EXPECTED)
    blank = "" if name == "r.csv" else None
    assert [tuple(row.values())[:-1] for row in rows] == [
        tuple(
            (str(cell) if name == "r.csv" else cell) if cell is not None else blank
            for cell in expected
        )
        for expected in EXPECTED
    ]  # fmt: skip
    result = run.xcoms["return_value"]
    assert (result["by_status"], result["rejected"]) == ({"completed": 2, "no_answer": 1}, 5)
    assert result["contacts"]["rejected"] == 5
    assert result["total_recipients"] == 3


def test_report_and_rejects_join(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Each row that is not called is in both, under the same row number, with its reference and reason."""
    files = {name: f"{tmp_path}/{name}.csv" for name in ("results_uri", "rejects_uri")}
    run = wait_for(channel, a_list(tmp_path), **files, **JOINED)
    assert run.state == "success", run.log_text
    rejects = {row["row_number"]: row for row in read_csv(tmp_path / "rejects_uri.csv")}
    left_out = [row for row in read_csv(tmp_path / "results_uri.csv") if row["status"] == "rejected"]
    assert [row["row_number"] for row in left_out] == list(rejects)
    for row in left_out:
        reject = rejects[row["row_number"]]
        assert row["reason"] == reject["reason"]
        if row["reason"] != "wrong_width":
            assert (row["reference"], row["branch"]) == (reject["loan_id"], reject["branch"])


@pytest.mark.parametrize(
    ("recipients", "shown"),
    [("full", NUMBERS[0]), ("masked", "*******0120"), ("none", None)],
)
def test_numbers_are_shown_by_choice(
    recipients: str, shown: str | None, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """All of them, the last digits, or no column at all; also those that are not called."""
    options = {**JOINED, "recipients": recipients, "results_uri": f"{tmp_path}/r.csv"}
    run = wait_for(channel, a_list(tmp_path), **options)
    assert run.state == "success", run.log_text
    rows = read_csv(tmp_path / "r.csv")
    assert rows[0].get("customer_phone") == shown
    assert ("customer_phone" in rows[0]) is (recipients != "none")
    text = (tmp_path / "r.csv").read_text()
    assert any(number[:-4].lstrip("+") in text for number in NUMBERS) is (recipients == "full")


def test_what_is_carried_is_in_no_log_nor_xcom(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Like everything of the contacts; the names of columns may be."""
    run = wait_for(channel, a_list(tmp_path), results_uri=f"{tmp_path}/r.csv", **JOINED)
    shown = f"{run.log_text} {run.xcoms} {run.rendered_fields}"
    for private in ("L-1", "Pune", "Meera", *(number.lstrip("+") for number in NUMBERS)):
        assert private not in shown


def test_carried_columns_go_to_the_agent_as_all_others_do(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """What is carried is a choice for the report; the upload does not change for it."""
    run = wait_for(channel, a_list(tmp_path), results_uri=f"{tmp_path}/r.csv", **JOINED)
    assert run.state == "success", run.log_text
    assert [list(row) for row in uploaded(sandbox)] == [HEADER] * 3


@pytest.mark.parametrize("files", [("results_uri",), ("rejects_uri",), ("results_uri", "rejects_uri")])
@pytest.mark.parametrize("option", ["reference_column", "keep_columns"])
def test_a_column_that_is_not_there_is_refused_before_anything_is_sent(
    option: str, files: tuple[str, ...], sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """By the name of the option and of the column."""
    value = "lone_id" if option == "reference_column" else ["lone_id"]
    uris = {name: f"{tmp_path}/{name}.csv" for name in files}
    run = wait_for(channel, PEOPLE, **uris, **{option: value})
    assert (run.state, posts(sandbox)) == ("failed", 0)
    assert f"{option}: the contacts have no column lone_id" in str(run.error)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"keep_columns": "branch"}, "keep_columns must be a list"),
        ({"keep_columns": [""]}, "keep_columns must be a list"),
        ({"keep_columns": [7]}, "keep_columns must be a list"),
        ({"keep_columns": ["a", "b", "a"]}, "names a column twice"),
        *(
            ({"keep_columns": ["a", name]}, f"cannot name {name}")
            for name in ("status", "reason", "row_number", "part", "customer_phone", "reference", "results")
        ),
        ({"reference_column": "customer_phone"}, "reference_column cannot be customer_phone"),
        ({"reference_column": ""}, "reference_column must be the name"),
        ({"reference_column": ["a"]}, "reference_column must be the name"),
        ({"recipients": "some"}, "recipients must be one of full, masked, none"),
        ({"recipients": None}, "recipients must be one of full, masked, none"),
    ],
    ids=str,
)
def test_an_invalid_option_breaks_the_dag_file(options: dict[str, Any], told: str) -> None:
    """Two columns of one name, numbers by the back door, a text for a list."""
    with pytest.raises(ValueError, match=told):
        a_batch_call(**WAIT, results_uri="/r.csv", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"recipients": "full"},
        {"keep_recipients": True},
        {"reference_column": "loan_id"},
        {"keep_columns": ["branch"]},
    ],
    ids=str,
)
def test_an_option_of_the_report_needs_one(options: dict[str, Any]) -> None:
    """It would be forgotten otherwise."""
    with pytest.raises(ValueError, match="has no effect without results_uri"):
        a_batch_call(**WAIT, **options)


@pytest.mark.parametrize(
    "name", ["r", "r.txt", "r.json", "r.parquet.gz", "r.csv.zst", "r.xlsx", "r.tsv", ".csv.d/r"]
)
def test_a_report_of_no_known_form_is_refused_before_anything_is_sent(
    name: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The end of its name is all that says what it shall be: of a literal when the DAG file is parsed."""
    with pytest.raises(ValueError, match="results_uri: must end in"):
        a_batch_call(results_uri=f"{tmp_path}/{name}", **WAIT)
    run = wait_for(channel, results_uri=f"{tmp_path}/{{{{ '{name}' }}}}")
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "results_uri: " in str(run.error)


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_rows_of_several_files_name_their_file(name: str, channel: FakeSupervisor, tmp_path: Path) -> None:
    """Row numbers begin anew in each part, so that only both together say which row it is."""
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    folder = tmp_path / "parts"
    folder.mkdir()
    write_csv(folder / "part-0.csv", [["loan_id", "customer_phone"], ["L-1", NUMBERS[0]], ["L-2", "+1415"]])
    write_csv(
        folder / "part-1.csv", [["customer_phone", "loan_id"], [NUMBERS[0], "L-3"], [NUMBERS[2], "L-4"]]
    )
    options = {"results_uri": f"{tmp_path}/{name}", "reference_column": "loan_id", "invalid_rows": "reject"}
    run = wait_for(channel, f"{folder}/", **options)
    assert run.state == "success", run.log_text
    rows = read_report(tmp_path / name)
    assert list(rows[0])[:4] == ["row_number", "part", "customer_phone", "reference"]
    assert [(int(row["row_number"]), row["part"], row["reference"], row["status"]) for row in rows] == [
        (2, "part-0.csv", "L-1", "completed"),
        (3, "part-0.csv", "L-2", "rejected"),
        (2, "part-1.csv", "L-3", "rejected"),
        (3, "part-1.csv", "L-4", "no_answer"),
    ]


@pytest.mark.parametrize(
    "options", [{"keep_columns": ["id", "mobile"]}, {"reference_column": "mobile"}], ids=str
)
def test_the_column_of_numbers_cannot_be_carried_under_its_own_name(options: dict[str, Any]) -> None:
    """Else numbers would be in the report unmasked; the DAG file is refused, with what to write instead."""
    with pytest.raises(ValueError, match=r"cannot name mobile.*recipients says how they are shown"):
        a_batch_call(**WAIT, results_uri="/r.csv", phone_column="mobile", **options)


def test_the_column_of_numbers_may_be_required_by_its_own_name(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """It means the numbers, which no contact can lack anyway."""
    contacts = [{"mobile": NUMBERS[0], "name": "Asha"}]
    run = wait_for(channel, contacts, phone_column="mobile", required_variables=["mobile", "name"])
    assert (run.state, posts(sandbox)) == ("success", 1), run.log_text


def test_rejects_have_each_name_once_and_those_of_the_contacts(
    channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The column of numbers keeps its name; one that is called like ours gets contact_ before it."""
    header = ["mobile", "reason", "part", "row_number", "detail", "contact_detail"]
    contacts = write_csv(tmp_path / "c.csv", [header, [NUMBERS[0], *"abcde"], ["+1415", *"abcde"]])
    options = {"phone_column": "mobile", "invalid_rows": "reject", "rejects_uri": f"{tmp_path}/x.csv"}
    assert wait_for(channel, contacts, **options).state == "success"
    assert read_csv(tmp_path / "x.csv") == [
        {
            "row_number": "3",
            "reason": "impossible_number",
            "detail": ANY,
            "mobile": "+1415",
            "contact_reason": "a",
            "part": "b",
            "contact_row_number": "c",
            "contact_contact_detail": "d",
            "contact_detail": "e",
        }
    ]


def test_rejects_of_several_files_tell_the_file_from_a_column_part(
    channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Both are there, under a name each."""
    (tmp_path / "in").mkdir()
    for name in ("p-0.csv", "p-1.csv"):
        number = NUMBERS[0] if name == "p-0.csv" else "+1415"
        write_csv(tmp_path / "in" / name, [["customer_phone", "part"], [number, "own"]])
    options = {"invalid_rows": "reject", "rejects_uri": f"{tmp_path}/x.csv"}
    assert wait_for(channel, f"{tmp_path}/in/", **options).state == "success"
    (row,) = read_csv(tmp_path / "x.csv")
    assert (row["part"], row["contact_part"]) == ("p-1.csv", "own")

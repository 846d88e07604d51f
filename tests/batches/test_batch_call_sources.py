"""Whom a batch call calls from a workbook, parts or a frame, whom not, and what bare digits mean to it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from batches.batch_call import NUMBERS, PEOPLE, place, read_csv, uploaded, write_csv

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor, TaskKey
from support.task_run import make_dag, run_task


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


def test_a_hit_is_no_failure_of_the_batch_call(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """With invalid_rows="fail" too: who is on the list is left out and reported; the others are called."""
    rejects = tmp_path / "rejects.csv"
    run = place(channel, suppress=list(NUMBERS[:2]), rejects_uri=str(rejects))
    assert run.state == "success", run.log_text
    assert sandbox.rings == {NUMBERS[2]: 1}
    assert run.xcoms["return_value"]["contacts"]["by_reason"] == {"suppressed": 2}
    assert [row["reason"] for row in read_csv(rejects)] == ["suppressed", "suppressed"]
    assert "Numbers on the do-not-call list: 2." in run.log_text
    assert "contacts can be called, according to phonenumbers " in run.log_text


def test_a_contact_that_is_invalid_fails_it_all_the_same(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """And is named before those on the list, however many they are."""
    many = [{"customer_phone": f"+1415555{last:04}"} for last in range(200, 220)]
    suppress = [person["customer_phone"] for person in many]
    run = place(channel, [*many, {"customer_phone": "x"}, *PEOPLE], suppress=suppress)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "row 21 (not_e164)" in str(run.error)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_the_list_is_read_as_the_contacts_are(
    pack: Any, delimiter: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """With the same delimiter, in gzip, and in any spelling of the numbers."""
    listed, contacts = tmp_path / "list", tmp_path / "contacts"
    listed.write_bytes(pack(f'"customer_phone"{delimiter}why\n(415) 555-0120{delimiter}asked\n'.encode()))
    contacts.write_bytes(
        pack(f"customer_phone{delimiter}n\n{NUMBERS[0]}{delimiter}A\n4155550121{delimiter}B\n".encode())
    )
    run = place(channel, str(contacts), suppress=str(listed), delimiter=delimiter, default_country="US")
    assert run.state == "success", run.log_text
    assert sandbox.rings == {NUMBERS[1]: 1}


@pytest.mark.parametrize("suppress", [[], [""], " ", "{{ none }}", ["x"]])
def test_a_list_that_is_lost_calls_nobody(suppress: Any, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """It is an error of the input, by the name of the field."""
    run = place(channel, suppress=suppress)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "suppress: " in str(run.error)


def test_a_list_that_a_task_should_give_and_is_none_calls_nobody(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """An upstream that was skipped, or forgot to return, is not the same as no list."""
    with make_dag():
        upstream = EmptyOperator(task_id="upstream")
        operator = FormantCreateBatchCallOperator(
            task_id="batch_call", agent_id=456, name="March", contacts=PEOPLE, suppress=upstream.output
        )
    channel.xcoms[TaskKey("test_dag", "r1", "upstream", -1)] = {"return_value": None}
    run = run_task(operator, channel)
    assert (run.state, sandbox.requests) == ("failed", [])


@pytest.mark.usefixtures("sleeps")  # the looks for what others may have placed
@pytest.mark.parametrize("literal", [True, False])
def test_none_in_a_row_is_no_list_if_the_dag_file_says_so(
    literal: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Written there it means nobody; from a task it means that the list was lost."""
    with make_dag():
        upstream = EmptyOperator(task_id="upstream")
        operator = FormantCreateBatchCallOperator.partial(
            task_id="batch_call", agent_id=456, name="March", contacts=PEOPLE
        ).expand(suppress=[None] if literal else upstream.output)
    channel.xcoms[TaskKey("test_dag", "r1", "upstream", -1)] = {"return_value": [None]}
    run = run_task(operator, channel, map_index=0)
    assert run.state == ("success" if literal else "failed"), run.log_text
    assert bool(sandbox.rings) is literal


def test_none_in_the_dag_file_is_no_list(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Everybody is called, as when it is left out."""
    assert place(channel, suppress=None).state == "success"
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)


@pytest.mark.parametrize(
    ("options", "rings"),
    [
        ({"default_country": "DE"}, None),
        ({"default_country": "DE", "numbers": "e164_without_plus"}, "+4915123456789"),
        ({"numbers": "e164_without_plus"}, "+4915123456789"),
        ({"default_country": "DE", "numbers": "national"}, "+494915123456789"),
    ],
)
@pytest.mark.parametrize("number", ["4915123456789", 4915123456789, 4915123456789.0])
def test_a_country_code_without_its_plus_calls_no_stranger(
    options: dict[str, Any], rings: str | None, number: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """It is refused, unless numbers= says what the digits are; then a float is read as well."""
    run = place(channel, [{"customer_phone": number}], **options)
    if rings is None:
        assert (run.state, sandbox.requests) == ("failed", [])
        assert 'numbers="e164_without_plus"' in str(run.error)
        assert "4915123456789" not in run.log_text
    else:
        assert run.state == "success", run.log_text
        assert [row["customer_phone"] for row in uploaded(sandbox)] == [rings]


def test_two_spellings_of_one_phone_are_one_contact(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The second is a duplicate, and what is uploaded is the one spelling."""
    people = [{"customer_phone": number} for number in ("+4402079460123", "+442079460123")]
    run = place(channel, people, invalid_rows="reject")
    assert run.state == "success", run.log_text
    assert uploaded(sandbox) == [{"customer_phone": "+442079460123"}]
    assert run.xcoms["return_value"]["contacts"]["by_reason"] == {"duplicate": 1}


@pytest.mark.parametrize(
    "options", [{"numbers": "national"}, {"numbers": "local"}, {"numbers": "", "default_country": "DE"}]
)
def test_an_invalid_choice_for_numbers_is_refused_when_the_file_is_parsed(options: dict[str, Any]) -> None:
    """National numbers are of somewhere, and there are two words."""
    with pytest.raises(ValueError, match="numbers"):
        FormantCreateBatchCallOperator(task_id="c", agent_id=456, name="n", contacts=PEOPLE, **options)

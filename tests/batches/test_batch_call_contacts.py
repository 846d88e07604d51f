"""What cannot be called is found before anything is sent, and told by row and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from batches.batch_call import (
    NUMBERS,
    PEOPLE,
    WAIT,
    a_batch_call,
    names,
    place,
    read_csv,
    uploaded,
    write_csv,
)

from formant_provider.sandbox import Sandbox
from support.object_store import ObjectStore, attached
from support.supervisor import FakeSupervisor
from support.task_run import run_task

HEADER = ("customer_phone", "customer_name", "due_amount")
SUPPRESSED = "+14155550140"
# Every defect, by the number a spreadsheet shows for its row, and why the row is not called.
ROWS: tuple[tuple[tuple[str, ...], str | None], ...] = (
    ((NUMBERS[0], "Asha", "120"), None),
    ((NUMBERS[1], 'Ravi, the "second"\nof his name', "=1+1"), None),
    ((NUMBERS[0], "Asha again", "120"), "duplicate"),
    (("4155550123", "Local", "120"), "not_e164"),
    (("+1 415 555 0124", "Spaced", "120"), "not_e164"),
    (("+999155550125", "Nowhere", "120"), "impossible_number"),
    (("+1415", "Short", "120"), "impossible_number"),
    (("", "Nobody", "120"), "no_number"),
    ((SUPPRESSED, "Do not call", "120"), "suppressed"),
    (("+14155550126", " ", "120"), "blank_variable"),
    (("+14155550127", "Too few"), "wrong_width"),
    (("+14155550128", "Too many", "120", "and more"), "wrong_width"),
    ((NUMBERS[2], "Çağla", "7"), None),
)
WRONG = [
    (str(number), reason, row) for number, (row, reason) in enumerate(ROWS, start=2) if reason is not None
]
RIGHT = [dict(zip(HEADER, row, strict=True)) for row, reason in ROWS if reason is None]
COUNTS = {
    "duplicate": 1, "not_e164": 2, "impossible_number": 2, "no_number": 1, "suppressed": 1,
    "blank_variable": 1, "wrong_width": 2,
}  # fmt: skip
RULES: dict[str, Any] = {"suppress": [SUPPRESSED], "required_variables": ["customer_name"]}


def a_file(folder: Path, **form: Any) -> str:
    folder.mkdir(exist_ok=True)
    return write_csv(folder / "contacts.csv", [HEADER, *(row for row, _ in ROWS)], **form)


def assert_rejects(text: list[dict[str, Any]]) -> None:
    """Each contact that cannot be called is there once, in order, with its number and its cells."""
    assert [(row["row_number"], row["reason"]) for row in text] == [wrong[:2] for wrong in WRONG]
    for row, (_, _, cells) in zip(text, WRONG, strict=True):
        assert row["detail"].endswith(".") or "Column: customer_name" in row["detail"]
        assert row["customer_phone"] == cells[0]


def test_a_file_with_every_defect_is_refused(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Nothing is sent; the error and the rejects name row and reason of each, and the log shows no value."""
    rejects = tmp_path / "out" / "rejects.csv"
    run = run_task(a_batch_call(a_file(tmp_path), retries=3, rejects_uri=str(rejects), **RULES), channel)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert sandbox.requests == []
    text = str(run.error)
    assert "10 of 13 cannot be called" in text
    for reason, count in COUNTS.items():
        assert f"{count} {reason}" in text
    for number, reason, _ in WRONG:
        assert f"row {number} ({reason}" in text
    assert_rejects(read_csv(rejects))
    assert names(rejects.parent) == ["rejects.csv"]
    assert str(rejects) in run.log_text
    for row, _ in ROWS:
        assert not any(cell in run.log_text for cell in row if len(cell) > 4)


def test_what_can_be_called_is_called_if_that_is_wanted(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """invalid_rows="reject" leaves the others out: the counts go to XCom, the rows to the rejects."""
    rejects = tmp_path / "rejects.csv"
    run = place(channel, a_file(tmp_path), invalid_rows="reject", rejects_uri=str(rejects), **RULES)
    assert run.state == "success", run.log_text
    assert uploaded(sandbox) == RIGHT
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)
    counts = run.xcoms["return_value"]["contacts"]
    by_reason = {reason: counts["by_reason"][reason] for reason in COUNTS}
    assert by_reason == COUNTS
    assert (counts["total"], counts["accepted"], counts["rejected"]) == (13, 3, 10)
    assert run.xcoms["return_value"]["total_recipients"] == 3
    assert_rejects(read_csv(rejects))


def test_rejects_go_to_an_object_store(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """The file is complete, under the name that was asked for."""
    uri = "s3://shop@bucket/{{ ds }}/rejects.csv"
    with attached(ObjectStore()) as store:
        run = place(channel, a_file(tmp_path), rejects_uri=uri, **RULES)
    assert (run.state, sandbox.requests) == ("failed", [])
    (tmp_path / "copy.csv").write_bytes(store.objects.pop("bucket/2026-01-01/rejects.csv"))
    assert_rejects(read_csv(tmp_path / "copy.csv"))
    assert store.objects == {}


def test_without_rejects_there_is_no_file(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Contacts without a fault leave no file of rejects, and rejects that nobody wants are kept nowhere."""
    run = place(channel, PEOPLE, rejects_uri=str(tmp_path / "rejects.csv"))
    assert (run.state, names(tmp_path)) == ("success", [])
    run = place(channel, a_file(tmp_path), task_id="other", **RULES)
    assert (run.state, names(tmp_path)) == ("failed", ["contacts.csv"])


def test_rejects_that_cannot_be_written_send_nothing(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A store that fails is tried again by Airflow, before anybody is called."""
    with attached(ObjectStore(breaks_at=1)):
        operator = a_batch_call(
            a_file(tmp_path),
            invalid_rows="reject",
            rejects_uri="s3://shop@bucket/rejects.csv",
            retries=1,
            **RULES,
        )
        run = run_task(operator, channel)
    assert (run.state, type(run.error), sandbox.requests) == ("up_for_retry", OSError, [])


SUPPRESS: dict[str, Any] = {
    "a list": lambda _: [*NUMBERS[:2], "+14155550199"],
    "a file of one column": lambda folder: write_csv(folder / "s.csv", [[number] for number in NUMBERS[:2]]),
    "a file with a header": lambda folder: write_csv(
        folder / "s.csv", [("name", "customer_phone"), *(("x", number) for number in NUMBERS[:2])]
    ),
    "a template": lambda folder: (
        write_csv(folder / "2026-01-01.csv", [[number] for number in NUMBERS[:2]])
        and str(folder / "{{ ds }}.csv")
    ),
}


@pytest.mark.parametrize("source", SUPPRESS)
def test_who_must_not_be_called_is_not(
    source: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The do-not-call list may be a list or a file."""
    run = place(channel, suppress=SUPPRESS[source](tmp_path), invalid_rows="reject")
    assert run.state == "success", run.log_text
    assert sandbox.rings == {NUMBERS[2]: 1}
    assert run.xcoms["return_value"]["contacts"]["by_reason"] == {"suppressed": 2}


@pytest.mark.parametrize("invalid_rows", ["fail", "reject"])
@pytest.mark.parametrize(
    ("on_empty", "state", "reason"),
    [
        (None, "failed", "invalid_contacts"),
        ("fail", "failed", "invalid_contacts"),
        ("skip", "skipped", "nobody_left"),
    ],
)
def test_a_list_of_which_nobody_can_be_called_fails_unless_it_may_be_empty(  # noqa: PLR0917 - a table
    on_empty: Any,
    state: str,
    reason: str,
    invalid_rows: Any,
    sandbox: Sandbox,
    channel: FakeSupervisor,
    tmp_path: Path,
) -> None:
    """An empty list, a header alone, or all on the do-not-call list: nothing is sent, and not in green."""
    path, options = write_csv(tmp_path / "c.csv", [HEADER]), {"invalid_rows": invalid_rows, "retries": 3}
    options |= {"on_empty": on_empty} if on_empty else {}
    empty = place(channel, [], task_id="empty", **options)
    header = place(channel, path, task_id="header", **options)
    options |= {"suppress": list(NUMBERS), "results_uri": f"{tmp_path}/r.csv"}
    suppressed = place(channel, task_id="suppressed", **WAIT, **options)
    for run in (empty, header, suppressed):
        assert run.state == state, run.log_text
        assert run.xcoms["return_value"]["reason"] == reason
        assert "obody is left to be called" in run.log_text
        assert ('say on_empty="skip"' in run.log_text) == (state == "failed")
    assert (sandbox.requests, names(tmp_path)) == ([], ["c.csv"])


def test_rejects_of_which_nobody_is_left_fail_too(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The rejects are written, and the error says what is wrong with them."""
    contacts = [{"customer_phone": "4155550123"}, {"customer_phone": ""}]
    rejects = tmp_path / "rejects.csv"
    run = place(channel, contacts, invalid_rows="reject", rejects_uri=str(rejects))
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "2 of 2 cannot be called" in run.log_text or "1 of 1 cannot be called" in run.log_text
    assert read_csv(rejects)[0]["reason"] == "not_e164"


FIVE = [{"customer_phone": number} for number in (*NUMBERS, "4155550123", NUMBERS[0])]


@pytest.mark.parametrize(
    ("rate", "state"), [(None, "success"), (100, "success"), (40, "success"), (39.9, "failed"), (0, "failed")]
)
def test_a_list_with_too_many_faults_is_not_called(
    rate: Any, state: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """More than max_rejected_rate percent that are left out for a fault: nothing is sent, all are told."""
    rejects = tmp_path / "rejects.csv"
    options = {"invalid_rows": "reject", "max_rejected_rate": rate, "rejects_uri": str(rejects)}
    run = place(channel, FIVE, retries=3, **options)
    assert run.state == state, run.log_text
    assert len(read_csv(rejects)) == 2
    assert sandbox.rings == (dict.fromkeys(NUMBERS, 1) if state == "success" else {})
    if state == "failed":
        assert f"40 percent have a fault, and max_rejected_rate is {rate:g}" in run.log_text
        assert run.xcoms["return_value"]["reason"] == "invalid_contacts"
        assert sandbox.requests == []


def test_who_is_suppressed_is_no_fault_of_the_list(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The do-not-call list may take out any part of the contacts."""
    options = {"invalid_rows": "reject", "max_rejected_rate": 0, "suppress": list(NUMBERS[:2])}
    assert place(channel, **options).state == "success"
    assert sandbox.rings == {NUMBERS[2]: 1}


@pytest.mark.parametrize("rate", [-1, 101, 0.5, "10", True, float("nan")], ids=repr)
def test_an_invalid_rate_breaks_the_dag_file(rate: Any) -> None:
    """It is in percent, and a fraction is taken for the mistake that it is."""
    with pytest.raises(ValueError, match="max_rejected_rate"):
        a_batch_call(invalid_rows="reject", max_rejected_rate=rate)


def test_a_rate_that_cannot_act_breaks_the_dag_file() -> None:
    """Where no contact may have a fault, none is left out."""
    with pytest.raises(ValueError, match='max_rejected_rate has no effect without invalid_rows="reject"'):
        a_batch_call(max_rejected_rate=10)


def test_numbers_in_usual_writing_become_e164(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """With default_country the numbers of a country may be written as they are there."""
    contacts = [{"customer_phone": "(415) 555-0120"}, {"customer_phone": 14155550121}]
    run = place(channel, contacts, default_country="US", suppress=["415-555-0199"])
    assert run.state == "success", run.log_text
    assert sandbox.rings == dict.fromkeys(NUMBERS[:2], 1)
    assert run.xcoms["return_value"]["contacts"]["rewritten"] == 2
    assert place(channel, contacts, task_id="other").state == "failed"


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "no header": (b"+14155550100,Asha\n", "has no column customer_phone"),
    "Windows-1252": (b"customer_phone,customer_name\n+14155550100,Ren\xe9e\n", "line 2: is not UTF-8"),
    "UTF-16": ("customer_phone\n+14155550100\n".encode("utf-16"), "is UTF-16"),
    "a quote that stays open": (b'customer_phone,n\n+14155550100,"x\n', "opens a quote"),
    "a column twice": (b"customer_phone,n,n\n+14155550100,a,b\n", "same name"),
    "half a gzip file": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03K.-.\xc9", "is damaged or cut off"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole(
    form: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Nothing is sent, and the error says what is wrong without quoting anything."""
    content, reason = REFUSED[form]
    (tmp_path / "contacts.csv").write_bytes(content)
    run = run_task(a_batch_call(str(tmp_path / "contacts.csv"), retries=3), channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert reason in str(run.error)
    assert "4155550100" not in run.log_text


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_mark_at_the_beginning_and_any_line_ends_are_taken(
    ends: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A byte order mark is no part of the first column's name."""
    text = ends.join(["\ufeffcustomer_phone,note", f'{NUMBERS[0]},"two{ends}lines, ""quoted"""', ""])
    (tmp_path / "contacts.csv").write_bytes(text.encode())
    run = place(channel, str(tmp_path / "contacts.csv"))
    assert run.state == "success", run.log_text
    assert uploaded(sandbox) == [{"customer_phone": NUMBERS[0], "note": f'two{ends}lines, "quoted"'}]

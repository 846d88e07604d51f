from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.models import Conversation
from formant_provider.core.batches.report import NO_RECORD, BatchReport
from formant_provider.core.contacts.row_list import ListedRow

SENT = datetime(2026, 3, 18, 10, tzinfo=UTC)
NUMBERS = ["+14155550102", "+14155550100", "+14155550101"]


@pytest.fixture
def report(tmp_path: Path) -> Iterator[BatchReport]:
    with BatchReport(tmp_path) as report:
        yield report


def listed(report: BatchReport, numbers: Iterable[str]) -> None:
    report.add_rows(ListedRow(place, None, None, number, {}) for place, number in enumerate(numbers, 1))


def a_record(
    name: str, number: str | None = NUMBERS[0], start: int | None = 1000, **fields: Any
) -> Conversation:
    return Conversation.from_json(
        {
            "conversation_id": name,
            "contact_number": number,
            "start_timestamp": start,
            "status": "completed",
            **fields,
        }
    )


def ids(report: BatchReport) -> list[tuple[str, str | None]]:
    return [(str(row.number), record.conversation_id if record else None) for row, record in report.rows()]


def test_recipients_come_in_their_own_order(report: BatchReport) -> None:
    """Whatever the order of the conversations is, and whether there are any."""
    listed(report, NUMBERS)
    report.add(a_record("c-3", NUMBERS[2], 1))
    report.add(a_record("c-1", NUMBERS[0], 2))
    assert ids(report) == [(NUMBERS[0], "c-1"), (NUMBERS[1], None), (NUMBERS[2], "c-3")]


def test_who_was_not_to_be_called_is_not_in_it(report: BatchReport) -> None:
    """Neither a stranger's conversation nor one without a number adds a row."""
    listed(report, NUMBERS[:1])
    report.add(a_record("c-2", NUMBERS[1]))
    report.add(a_record("c-0", None))
    report.add(a_record("c-x", ""))
    assert ids(report) == [(NUMBERS[0], None)]


@pytest.mark.parametrize("starts", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (None, 5, 4)])
def test_the_newest_conversation_counts(starts: Any, report: BatchReport) -> None:
    """In whatever order they come; one that does not say when it began is older than all."""
    listed(report, NUMBERS[:1])
    for start in starts:
        report.add(a_record(f"c-{start}", start=start))
    newest = max(start or 0 for start in starts)
    assert ids(report) == [(NUMBERS[0], f"c-{newest}")]


def test_of_two_at_once_the_later_one_in_the_list_counts(report: BatchReport) -> None:
    """There is no telling, so it is at least always the same."""
    listed(report, NUMBERS[:1])
    report.add(a_record("c-1"))
    report.add(a_record("c-2"))
    assert ids(report) == [(NUMBERS[0], "c-2")]


@pytest.mark.parametrize("written", ["14155550102", "+1 (415) 555-0102", "tel:+1-415-555-0102"])
def test_a_number_may_be_written_otherwise(written: str, report: BatchReport) -> None:
    """Digits alone are compared, and a recipient is shown as the contacts had them."""
    listed(report, NUMBERS[:1])
    report.add(a_record("c-1", written))
    assert ids(report) == [(NUMBERS[0], "c-1")]


def test_a_recipient_is_listed_once(report: BatchReport) -> None:
    """Somebody who is there twice, or found in the list again, keeps their first place."""
    listed(report, NUMBERS)
    listed(report, [NUMBERS[2], NUMBERS[0], "14155550100", "+14155550199"])
    assert ids(report) == [(number, None) for number in [*NUMBERS, "+14155550199"]]


def test_statuses_are_counted_once_all_rows_were_read(report: BatchReport) -> None:
    """By the vendor's words; who has no record, or one without a status, is counted as such."""
    listed(report, [*NUMBERS, "+14155550199"])
    report.add(a_record("c-1", NUMBERS[0], status="busy"))
    report.add(a_record("c-2", NUMBERS[1], status=None))
    report.add(a_record("c-3", NUMBERS[2], status="voicemail_reached"))
    assert report.by_status == {}
    assert len(list(report.rows())) == 4
    assert report.by_status == {"busy": 1, "unknown": 1, "voicemail_reached": 1, NO_RECORD: 1}


def test_a_record_comes_back_as_it_was(report: BatchReport) -> None:
    """All fields but what was said, which no report shows."""
    record = a_record(
        "c-1", results={"promise": "हाँ", "sum": 1.5}, duration_seconds=12, transcript=[{"a": 1}]
    )
    listed(report, NUMBERS[:1])
    report.add(record)
    ((_, kept),) = report.rows()
    assert kept is not None
    assert (kept.results, kept.duration_seconds) == (record.results, 12)
    assert kept.transcript is None


def test_a_row_that_is_not_called_has_no_conversation(report: BatchReport) -> None:
    """A repeated row has the number of somebody who is called, and none of what came of that."""
    report.add_rows(
        [
            ListedRow(2, "a.csv", None, NUMBERS[0], {"id": "x"}),
            ListedRow(3, "a.csv", "duplicate", NUMBERS[0], {"id": "y"}),
            ListedRow(4, "a.csv", "duplicate", NUMBERS[0], {"id": "z"}),
            ListedRow(2, "b.csv", "wrong_width", None, {"id": None}),
        ]
    )
    report.add(a_record("c-1"))
    rows = list(report.rows())
    assert [(row.part, row.row_number, row.carried["id"]) for row, _ in rows] == [
        ("a.csv", 2, "x"), ("a.csv", 3, "y"), ("a.csv", 4, "z"), ("b.csv", 2, None),
    ]  # fmt: skip
    assert [record.conversation_id if record else None for _, record in rows] == ["c-1", None, None, None]
    assert (report.by_status, report.rejected, report.has_parts) == ({"completed": 1}, 3, True)


def told(
    report: BatchReport,
    record: Conversation,
    sent_s: int = 0,
    *,
    whole: bool = True,
    final: bool = True,
    caller: str | None = None,
) -> None:
    sent_at = SENT + timedelta(seconds=sent_s)
    report.add_told(record, sent_at, is_whole=whole, is_final=final, from_phone=caller)


def test_what_events_tell_counts_as_what_the_list_tells(report: BatchReport) -> None:
    """The newest attempt of a recipient, whichever side tells of it; one that both tell of is whole."""
    listed(report, NUMBERS)
    told(report, a_record("a", NUMBERS[0], 5000))
    told(report, a_record("b", NUMBERS[1], 5000))
    report.add(a_record("a", NUMBERS[0], 5999))
    report.add(a_record("newer", NUMBERS[1], 6000))
    read: list[str] = []

    def complete(record: Conversation) -> Conversation:
        read.append(record.conversation_id)
        return record

    rows = [record.conversation_id if record else None for _, record in report.rows(complete)]
    assert (rows, read, report.from_webhooks) == (["a", "newer", None], ["newer"], 1)


def test_the_last_event_of_an_attempt_counts(report: BatchReport) -> None:
    """Whatever the order in which they came; one that tells no end counts less than one that does."""
    listed(report, NUMBERS[:1])
    told(report, a_record("c", status="completed"), 9)
    told(report, a_record("c", status="failed"), 5)
    told(report, a_record("c", status="in_progress"), 20, whole=False)
    assert [record and record.status for _, record in report.rows()] == ["completed"]


@pytest.mark.parametrize(
    ("whole", "final", "number", "all_known"),
    [
        (True, True, NUMBERS[0], True),
        (True, False, NUMBERS[0], False),
        (False, True, NUMBERS[0], False),
        (True, True, NUMBERS[1], False),
    ],
)
def test_the_list_is_needed_unless_events_tell_the_end_of_each_recipient(
    whole: bool, final: bool, number: str, all_known: bool, report: BatchReport
) -> None:
    """Of who is called: rows that were rejected have no end."""
    report.add_rows([ListedRow(1, None, None, NUMBERS[0], {}), ListedRow(2, None, "invalid", "x", {})])
    assert not report.knows_all_ends
    told(report, a_record("c", number), whole=whole, final=final)
    assert report.knows_all_ends is all_known


def test_a_call_from_a_recipient_is_told_by_its_event(report: BatchReport) -> None:
    """The list may have it under their number: its event has another as the one that was called."""
    listed(report, NUMBERS)
    report.add(a_record("ours", NUMBERS[0], 1000))
    told(report, a_record("theirs", "+14155550199", 9000), caller=NUMBERS[0])
    report.add(a_record("theirs", NUMBERS[0], 9000))
    assert ids(report)[0] == (NUMBERS[0], "ours")


@pytest.mark.parametrize("called", [None, "", "+1415555**02", "+1******0102", "unknown", "0014155550102"])
@pytest.mark.parametrize("caller", [None, "+14155550199", "+1415****199"])
def test_an_event_that_hides_who_was_called_takes_nobody_out_of_the_report(
    called: str | None, caller: str | None, report: BatchReport
) -> None:
    """Who was reached has the record of the list, also when the number in its event is missing or masked."""
    listed(report, NUMBERS)
    told(report, a_record("c", called), caller=caller)
    assert not report.knows_all_ends
    report.add(a_record("c", NUMBERS[0]))
    assert ids(report) == [(NUMBERS[0], "c"), (NUMBERS[1], None), (NUMBERS[2], None)]


def test_a_part_of_a_number_is_nobodys(report: BatchReport) -> None:
    """The digits that are left of one may be all those of somebody else."""
    listed(report, ["+141555502"])
    told(report, a_record("c", "+1415555**02"))
    assert ids(report) == [("+141555502", None)]


# A process that has everything loaded, and joins recipients with a conversation for every fourth of them.
PROGRAM = """
import json, sys, tempfile
from pathlib import Path
from formant_provider.core.batches.report import BatchReport
from formant_provider.api.models import Conversation
from formant_provider.core.contacts.row_list import ListedRow

def status(name):
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024

def join(size):
    with tempfile.TemporaryDirectory() as folder, BatchReport(Path(folder)) as report:
        report.add_rows(
            ListedRow(number + 2, None, None, f"+1{number:010d}", {"reference": f"loan {number}"})
            for number in range(size)
        )
        for number in reversed(range(0, size, 4)):
            report.add(Conversation.from_json({
                "conversation_id": str(number), "contact_number": f"+1{number:010d}", "status": "completed",
                "start_timestamp": number, "agent_id": 456, "duration_seconds": 142,
            }))
        for place, (row, record) in enumerate(report.rows()):
            assert (row.number, row.carried) == (f"+1{place:010d}", {"reference": f"loan {place}"})
            assert (record.conversation_id if record else None) == (None if place % 4 else str(place))
        return report.by_status

join(10)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
counts = join(200_000)
print(json.dumps([status("VmHWM") - before, counts]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured by Linux's means")
def test_200_000_recipients_take_less_than_64_mb() -> None:
    """Both sides meet on disk: memory does not grow with a batch call."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    extra, counts = json.loads(done.stdout)
    assert counts == {"completed": 50_000, NO_RECORD: 150_000}
    assert extra < 64 * 10**6

from __future__ import annotations

import csv
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.errors import InvalidContacts, InvalidInput
from formant_provider.core.contacts.cleaning import REJECT_COLUMNS, clean_contacts
from formant_provider.core.contacts.report import MAX_EXAMPLES, Problem
from formant_provider.core.numbers.reasons import Reason
from support.contact_tables import clean, numbers, read, table

ROOT = Path(__file__).parents[3]
NUMBER = "+14155552671"
EVERY_DEFECT = """customer_phone,customer_name,note
+14155552671,Ana,"first, with a
newline"
+14155552672,Ben
+14155552673,Cai,x,y
,Dee,x
,,
4155552674,Eve,x
+999123456789,Fay,x
+1415,Gus,x
+14155552675,Hal,=1+1
+14155552676,  ,x
+14155552677,Ida,x
+14155552671,Jon,x

+442079460958,Kim,x
+4402079460958,Lea,x
+14155552676,Max,-5
"""
# The first row holds a newline, which makes it no two rows.
FOUND = (
    Problem(3, Reason.WRONG_WIDTH),
    Problem(4, Reason.WRONG_WIDTH),
    Problem(5, Reason.NO_NUMBER),
    Problem(7, Reason.NOT_E164),
    Problem(8, Reason.IMPOSSIBLE_NUMBER),
    Problem(9, Reason.IMPOSSIBLE_NUMBER),
    Problem(11, Reason.BLANK_VARIABLE, "customer_name"),
    Problem(12, Reason.SUPPRESSED),
    Problem(13, Reason.DUPLICATE),
    Problem(16, Reason.DUPLICATE),
)
BY_REASON = {
    "wrong_width": 2,
    "no_number": 1,
    "not_e164": 1,
    "impossible_number": 2,
    "suppressed": 1,
    "blank_variable": 1,
    "duplicate": 2,
}
OPTIONS: dict[str, Any] = {"required_variables": ["customer_name"], "suppress": ["+14155552677"]}


def test_every_defect_is_reported_by_row_and_reason() -> None:
    """In a file with all that can be wrong each row has its number and reason; the good ones go out."""
    report, accepted, rejected = clean(EVERY_DEFECT, **OPTIONS)
    assert report.problems == FOUND
    assert (report.total, report.accepted, report.rejected) == (14, 4, 10)
    assert (report.suppressed, report.rewritten) == (1, 0)
    assert report.by_reason == BY_REASON
    assert accepted == [
        ["customer_phone", "customer_name", "note"],
        ["+14155552671", "Ana", "first, with a\nnewline"],
        ["+14155552675", "Hal", "=1+1"],
        ["+442079460958", "Kim", "x"],
        ["+14155552676", "Max", "-5"],
    ]
    assert rejected[0] == [*REJECT_COLUMNS, "customer_phone", "customer_name", "note"]
    assert [(int(row[0]), row[1]) for row in rejected[1:]] == [(p.row, p.reason) for p in FOUND]
    original = {int(row[0]): row[3:] for row in rejected[1:]}
    assert original[3] == ["+14155552672", "Ben"]
    assert original[4] == ["+14155552673", "Cai", "x", "y"]
    assert all(row[2] for row in rejected[1:])
    assert "customer_name" in next(row[2] for row in rejected if row[1] == "blank_variable")


def test_cells_like_formulas_go_out_as_they_are() -> None:
    """A cell like -5 may be meant."""
    starts = [f"{start}x" for start in "=+-@"]
    rows = [{"customer_phone": f"+1415555267{at}", "a": cell} for at, cell in enumerate(starts)]
    assert [row[1] for row in clean(rows)[1][1:]] == starts


def test_with_fail_one_error_names_counts_and_first_rows() -> None:
    """Nothing may be sent: the error has the counts and no values, and the rejects are complete."""
    sink, rejects = io.BytesIO(), io.BytesIO()
    with pytest.raises(InvalidContacts) as caught:
        clean_contacts(read(EVERY_DEFECT), sink, rejects=rejects, **OPTIONS)
    error = caught.value
    assert len(table(rejects.getvalue())) == 11
    assert error.field == "contacts"
    assert error.by_reason["duplicate"] == 2
    assert error.examples == tuple((problem.row, problem.reason) for problem in FOUND)
    text = str(error)
    assert "10 of 14 cannot be called: 2 wrong_width, 1 no_number" in text
    assert "row 11 (blank_variable customer_name)" in text
    assert not any(
        cell and cell in text for row in table(rejects.getvalue())[1:] for cell in row[3:] if len(cell) > 2
    )
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), str(copy), vars(copy)) == (InvalidContacts, text, vars(error))


def test_a_good_list_passes_with_fail() -> None:
    """What has nothing wrong with it goes out, and so does a list of nobody."""
    report, accepted, rejected = clean(numbers(NUMBER), invalid_rows="fail")
    assert (report.accepted, report.rejected, report.by_reason) == (1, 0, {})
    assert accepted == [["customer_phone"], [NUMBER]]
    assert len(rejected) == 1
    report, accepted, _ = clean([], invalid_rows="fail")
    assert (report.total, accepted) == (0, [["customer_phone"]])


def test_the_counts_are_plain_data() -> None:
    """What goes to XCom is numbers and words of ours."""
    assert clean(EVERY_DEFECT, **OPTIONS)[0].counts() == {
        "total": 14,
        "accepted": 4,
        "rejected": 10,
        "by_reason": BY_REASON,
        "rewritten": 0,
        "completed": 0,
        "round_numbers": 0,
        "two_readings": 0,
        "phonenumbers": phonenumbers.__version__,
    }


def test_examples_are_few_and_counts_are_whole() -> None:
    """A list of ten thousand bad rows fills no log."""
    report, accepted, rejected = clean(numbers(*["x"] * 10_000))
    assert report.by_reason == {"not_e164": 10_000}
    assert [problem.row for problem in report.problems] == list(range(1, MAX_EXAMPLES + 1))
    assert len(rejected) == 10_001
    assert len(accepted) == 1


def test_a_default_country_rewrites_what_it_can() -> None:
    """Numbers as people write them go out as E.164, are compared as such, and rejects keep their own form."""
    given_numbers = ["(415) 555-2671", "+14155552671", "415.555.2672", "020 x", "4155552673.0"]
    report, accepted, rejected = clean(
        numbers(*given_numbers), default_country="US", suppress=["415 555 2672"]
    )
    assert accepted == [["customer_phone"], ["+14155552671"]]
    assert report.rewritten == 1
    assert [(row[1], row[3]) for row in rejected[1:]] == [
        ("duplicate", "+14155552671"),
        ("suppressed", "415.555.2672"),
        ("not_e164", "020 x"),
        ("not_e164", "4155552673.0"),
    ]


def test_a_rejected_row_does_not_claim_its_number() -> None:
    """Only an earlier row that is called makes a later one a duplicate."""
    rows = [{"customer_phone": NUMBER, "name": name} for name in ["", "Ana", "Ben"]]
    report, accepted, _ = clean(rows, required_variables=["name"])
    assert accepted[1:] == [[NUMBER, "Ana"]]
    assert report.problems == (Problem(1, "blank_variable", "name"), Problem(3, "duplicate"))


@given(st.lists(st.integers(0, 40), max_size=60), st.lists(st.integers(0, 40), max_size=9))
def test_each_recipient_is_called_once_and_no_other_is_lost(picks: list[int], blocked: list[int]) -> None:
    """Of any list, those go out that come for the first time and are not suppressed, in their order."""
    texts, suppress = [[f"+1415555{pick:04}" for pick in some] for some in (picks, blocked)]
    report, accepted, _ = clean(numbers(*texts), suppress=suppress or None)
    wanted = [text for text in dict.fromkeys(texts) if text not in suppress]
    assert [row[0] for row in accepted[1:]] == wanted
    assert report.total == len(texts)


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=1200 // 40))
def test_what_goes_in_valid_comes_out_equal(cells: list[tuple[str, str]]) -> None:
    """Any values of valid rows are the same when the clean file is read with the csv module."""
    rows = [[first, f"+1415{number:07}", second] for number, (first, second) in enumerate(cells, 2000000)]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["a", "customer_phone", "b"], *rows])
    report, accepted, _ = clean(text.getvalue(), invalid_rows="fail")
    assert accepted == [["a", "customer_phone", "b"], *rows]
    assert report.accepted == len(rows)


def test_row_numbers_hold_over_many_chunks() -> None:
    """The ten-thousandth row is named as such."""
    rows = [f"+1415{number:07}" for number in range(2_000_000, 2_010_000)]
    rows[9_000] = "x"
    report, _, _ = clean("customer_phone\n" + "\n".join(rows))
    assert report.problems == (Problem(9_002, "not_e164"),)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"invalid_rows": "skip"}, "invalid_rows"),
        ({"default_country": "us"}, "default_country"),
        ({"required_variables": ["loan_id"]}, "required_variables"),
        ({"suppress": [NUMBER, "call me", None, "+1415"]}, "suppress"),
        ({"suppress": [f"\0{NUMBER}"]}, "suppress"),
        ({"suppress": NUMBER}, "suppress"),
        ({"suppress": []}, "suppress"),
        ({"suppress": ["", None, " "]}, "suppress"),
        ({"numbers": "local"}, "numbers"),
        ({"numbers": "national"}, "numbers"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], field: str) -> None:
    """Before a contact is read."""
    with pytest.raises(InvalidInput) as caught:
        clean(numbers(NUMBER), **options)
    assert caught.value.field == field
    assert NUMBER not in str(caught.value)


def test_a_do_not_call_list_is_understood_as_a_whole_or_not_at_all() -> None:
    """An entry that cannot be read means somebody, so it is named by its position; blank ones mean nobody."""
    with pytest.raises(InvalidInput) as caught:
        clean(numbers(NUMBER), suppress=[NUMBER, "", *["x"] * 900, None, 14155552671])
    assert "901 entries cannot be read as numbers (901 not_e164): first entries 3, 4" in caught.value.reason


def test_a_long_do_not_call_list_is_kept_whole() -> None:
    """All of thirty thousand numbers are left out, and nobody else."""
    texts = [f"+1415{number:07}" for number in range(2_000_000, 2_030_001)]
    report, accepted, _ = clean(numbers(*texts), suppress=iter(texts[:-1]))
    assert report.suppressed == 30_000
    assert accepted[1:] == [[texts[-1]]]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Two hundred thousand contacts take no more than the table of numbers and a few blocks."""
    code = """if True:
        import sys
        from pathlib import Path
        import bench_batch
        path = Path(sys.argv[1])
        bench_batch.build(path, 200_000)
        bench_batch.run_step("validate", path)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "contacts.csv")],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    megabytes = float(done.stdout.split()[1])
    assert megabytes < 60, f"{megabytes} MB above idle"

"""``python -m formant_provider.contacts``: what a batch call would find, from a shell and without Airflow."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pendulum
import pytest

from formant_provider.contacts import main

# Fictitious numbers of California and of London.
US, UK = "+14155550120", "+442079460018"
GOOD = f"customer_phone,name\n{US},Asha\n{UK},Ravi\n"
BAD = f"{GOOD}4155550123,Kim\n{US},Asha again\n,Nobody\n+1415,Short\n4155550124,Lee\n"
EIGHT_IN_LONDON = pendulum.datetime(2026, 11, 25, 8)


@pytest.fixture
def people(tmp_path: Path) -> Any:
    def write(text: str = BAD, name: str = "people.csv") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.fixture
def morning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pendulum, "now", lambda *_: EIGHT_IN_LONDON)


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_it_runs_without_airflow(people: Any) -> None:
    """Neither is Airflow imported, nor need it be there."""
    code = (
        "import sys\nfrom formant_provider.contacts import main\n"
        "status = main(sys.argv[1:])\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'airflow']\n"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", code, people(GOOD), "--start", "09:00"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    module = [sys.executable, "-m", "formant_provider.contacts", people(GOOD)]
    again = subprocess.run(module, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("2 of 2 contacts can be called.")


def test_a_good_list_ends_with_0(people: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """All can be called; the table says in which zones they are."""
    assert main([people(GOOD)]) == 0
    table = lines(capsys.readouterr().out)
    assert ["1", "at", "any", "time", "Europe/London"] in table
    assert ["1", "at", "any", "time", "America/Los_Angeles"] in table


def test_what_cannot_be_called_is_told_by_reason_and_row(
    people: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 1, the first rows of each reason, a sentence, and no number."""
    assert main([people()]) == 1
    text = capsys.readouterr().out
    assert text.startswith("2 of 7 contacts can be called.")
    for row in (["2", "not_e164", "rows", "4,", "8"], ["1", "duplicate", "row", "5", "An", "earlier"]):
        assert row in [line[: len(row)] for line in lines(text)]
    for digits in ("4155550123", "41555501", "79460018"):
        assert digits not in text


def test_of_many_rows_the_first_are_named(people: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Five of each reason; the rest is in the count."""
    main([people("customer_phone\n" + "1\n" * 100)])
    assert "rows 2, 3, 4, 5, 6 ..." in capsys.readouterr().out


@pytest.mark.usefixtures("morning")
def test_with_hours_it_says_when_each_may_be_called(people: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """By zone and next opening: at eight in London nobody yet, with hours from eight London."""
    assert main([people(GOOD), "--timezone", "recipient"]) == 0
    table = lines(capsys.readouterr().out)
    assert ["1", "from", "2026-11-25T09:00:00Z", "Europe/London"] in table
    assert ["1", "from", "2026-11-25T17:00:00Z", "America/Los_Angeles"] in table
    assert main([people(GOOD), "--start", "08:00", "--end", "18:00", "--days", "mon,tue,wed"]) == 0
    assert ["1", "now", "Europe/London"] in lines(capsys.readouterr().out)


@pytest.mark.usefixtures("morning")
def test_who_may_never_be_called_is_some_that_cannot(people: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A number of unknown zone has no hours: headline, table and exit status say so alike."""
    path = people(f"customer_phone\n{US}\n+883510001234567\n")
    assert main([path, "--start", "09:00"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("1 of 2 contacts can be called.")
    assert ["1", "hours_unknown", "row", "3"] in [line[:4] for line in lines(text)]
    assert main([path]) == 0


@pytest.mark.usefixtures("morning")
def test_hours_that_do_not_come_are_said_alike(people: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody of a list can be called whose hours never come within 30 days."""
    days = ",".join(f"{EIGHT_IN_LONDON.add(days=number):%Y-%m-%d}" for number in range(-3, 40))
    assert main([people(GOOD), "--holidays", days, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["accepted"], found["by_opening"]) == (0, [])
    assert found["by_reason"]["closed"]["count"] == 2


@pytest.mark.usefixtures("morning")
def test_holidays_are_days_off(people: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Dates for everybody, with commas between them."""
    assert main([people(GOOD), "--holidays", "2026-11-25, 2026-11-26"]) == 0
    table = lines(capsys.readouterr().out)
    assert ["1", "from", "2026-11-27T09:00:00Z", "Europe/London"] in table


@pytest.mark.usefixtures("morning")
def test_holidays_may_be_those_of_each_country(people: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """On Thanksgiving, the day after, California rests and London does not."""
    pytest.importorskip("holidays")
    options = ["--holidays", "recipient", "--days", "thu,fri"]
    assert main([people(GOOD), *options]) == 0
    table = lines(capsys.readouterr().out)
    assert ["1", "from", "2026-11-26T09:00:00Z", "Europe/London"] in table
    assert ["1", "from", "2026-11-27T17:00:00Z", "America/Los_Angeles"] in table


def test_a_country_may_be_in_small_letters(people: Any) -> None:
    """A shell is no DAG file."""
    assert main([people("customer_phone\n(415) 555-0120\n"), "--default-country", " us"]) == 0


def in_a_shell(command: str, path: str) -> subprocess.CompletedProcess[str]:
    line = f'set -o pipefail; "$0" -m formant_provider.contacts {command}'
    return subprocess.run(
        ["bash", "-c", line, sys.executable, path], capture_output=True, text=True, check=False
    )


def test_a_reader_that_has_gone_is_no_fault(people: Any) -> None:
    """As behind `head`: not a word on the error stream, and the exit status is that of the list."""
    done = in_a_shell('"$1" > >(exec true)', people())
    gone = in_a_shell('"$1" | true', people())
    assert (done.stderr, gone.stderr) == ("", "")
    assert gone.returncode == 1


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("- <&-", "contacts: standard input is closed"),
        pytest.param(
            '"$1" > /dev/full',
            "standard output: No space left",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it"),
        ),
    ],
)
def test_streams_that_cannot_be_used_end_with_2(command: str, fault: str, people: Any) -> None:
    """In one line, and with no traceback."""
    done = in_a_shell(command, people(GOOD))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert fault in done.stderr


BLANKS = ["--suppress", "--rejects", "--default-country", "--sheet", "--phone-column"]


@pytest.mark.parametrize("arguments", [[""], [" "], *([option, "", "f.csv"] for option in BLANKS)])
def test_what_an_unset_variable_leaves_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A blank is neither the current folder nor "no list": that would call who must not be called."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "is blank" in capsys.readouterr().err


@pytest.mark.usefixtures("morning")
def test_it_prints_json_for_programs(people: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts, reasons with their first rows, and openings, as one object."""
    assert main([people(), "--json", "--timezone", "Europe/London"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["total"], found["accepted"], found["rejected"]) == (7, 2, 5)
    assert found["by_reason"]["not_e164"] == {"count": 2, "first_rows": [4, 8]}
    [entry] = found["by_opening"]
    expected = {"zones": "Europe/London", "is_open": False, "opens_at": "2026-11-25T09:00:00Z", "count": 2}
    assert entry == expected


def test_the_options_are_those_of_a_batch_call(
    people: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Country, reading, do-not-call list, required columns, delimiter, rejects."""
    path = people("name;customer_phone\nAsha;(415) 555-0120\n;4155550121\nRavi;4155550122\n")
    suppress = people("4155550122\n", "dnc.csv")
    (tmp_path / "dnc.csv").write_text("phone\n4155550122\n")
    rejects = tmp_path / "rejects.csv"
    options = ["--delimiter", ";", "--default-country", "US", "--numbers", "national"]
    options += ["--suppress", suppress, "--required", "name", "--rejects", str(rejects), "--json"]
    assert main([path, *options]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {reason: entry["count"] for reason, entry in found["by_reason"].items()} == {
        "suppressed": 1,
        "blank_variable": 1,
    }
    assert [line.split(",")[:2] for line in rejects.read_text().splitlines()[1:]] == [
        ["3", "blank_variable"],
        ["4", "suppressed"],
    ]


def test_it_reads_gzip_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a file, and from a pipe."""
    path = tmp_path / "people.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert main([str(path)]) == 0
    with path.open() as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        assert main(["-"]) == 0
    assert capsys.readouterr().out.count("2 of 2 contacts can be called.") == 2


@pytest.mark.parametrize("text", ["customer_phone\n", "customer_phone\n1\n"])
def test_nobody_that_can_be_called_is_no_good_list(text: str, people: Any) -> None:
    """A batch call would fail, so the exit status is not 0."""
    assert main([people(text)]) == 1


UNREADABLE: dict[str, tuple[str | None, list[str], str]] = {
    "no such file": (None, [], "No such file or directory"),
    "no header": (f"{US}\n", [], "has no column customer_phone"),
    "empty": ("", [], "is empty"),
    "another delimiter": ("customer_phone;name\n1;2\n", [], "separated by semicolons"),
    "no such country": (GOOD, ["--default-country", "XX"], "two"),
    "nowhere national": (GOOD, ["--numbers", "national"], "numbers: national numbers need"),
    "no such column": (GOOD, ["--required", "amount"], "required_variables: the contacts have no column"),
    "no such list": (GOOD, ["--suppress", "/nowhere/dnc.csv"], "/nowhere/dnc.csv: No such file"),
    "no such zone": (GOOD, ["--timezone", "Mars"], "calling_window.timezone: must be"),
    "no such time": (GOOD, ["--start", "9 o'clock"], "calling_window.start: must be"),
    "nowhere to write": (BAD, ["--rejects", "/nowhere/r.csv"], "/nowhere/r.csv: No such file"),
}


@pytest.mark.parametrize(("text", "options", "fault"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_ends_with_2(  # noqa: PLR0917 - a table
    text: str | None,
    options: list[str],
    fault: str,
    people: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line on the error stream says what and where, without a number; nothing else is printed."""
    path = str(tmp_path / "nowhere.csv") if text is None else people(text)
    assert main([path, *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert fault in err
    assert "4155550" not in err


def test_the_list_itself_is_not_written_over(people: Any) -> None:
    """A slip of the pen must not cost the contacts."""
    path = people()
    assert main([path, "--rejects", path]) == 2
    assert Path(path).read_text() == BAD


@pytest.mark.parametrize("arguments", [[], ["--numbers", "x", "f.csv"], ["--no-such-option", "f.csv"]])
def test_wrong_arguments_end_with_2(arguments: list[str]) -> None:
    """As with every command line."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "way", ["in other words", "by a link", "by a hard link", "in its folder", "like a pattern"]
)
def test_rejects_never_replace_what_is_read(
    way: str, people: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the two are called; nothing is written."""
    path = Path(people())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "symlink.csv").symlink_to(path)
    (tmp_path / "hard.csv").hardlink_to(path)
    file, rejects = {
        "in other words": ("people.csv", "./people.csv"),
        "by a link": ("symlink.csv", "people.csv"),
        "by a hard link": ("people.csv", "hard.csv"),
        "in its folder": (str(tmp_path), "r.csv"),
        "like a pattern": ("peop*.csv", str(tmp_path / "people-r.csv")),
    }[way]
    assert main([file, "--rejects", rejects]) == 2
    assert "--rejects: is " in capsys.readouterr().err
    assert path.read_text() == BAD
    assert (
        main([people("phone\n4155550122\n", "dnc.csv"), "--suppress", "people.csv", "--rejects", "hard.csv"])
        == 2
    )
    assert path.read_text() == BAD

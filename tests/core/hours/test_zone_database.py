"""Which time zone database counts: the newest of the machine's and the package's, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from importlib import resources
from pathlib import Path

import pytest

from formant_provider.core.hours.zone_database import (
    ZoneDatabase,
    database,
    is_old,
    log_version,
    zone,
    zone_names,
)

PACKAGE = resources.files("tzdata") / "zoneinfo"
needs_latest = pytest.mark.skipif(
    database().version < "2026f", reason=f"the time zone database is {database().version}, not 2026f"
)

SHOW = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s", level="INFO")
from datetime import UTC, datetime
from formant_provider.core.hours.zone_database import database
from formant_provider.calling_window import CallingWindow
now = datetime(2026, 12, 1, 5, tzinfo=UTC)
until = datetime(2026, 12, 3, tzinfo=UTC)
print(database().version)
for number in ("+16042340100", "+17802340100", "+12042340100", "+919876543210"):
    print(CallingWindow().hours(number).opening(now, until).isoformat())
"""


def a_machine(folder: Path, version: str | None, **zones: str) -> Path:
    """Zone files as a machine has them, each copied from one of the package's."""
    for name, source in zones.items():
        path = folder.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PACKAGE.joinpath(*source.split("/")).read_bytes())
    if version:
        (folder / "zone.tab").write_bytes((PACKAGE / "zone.tab").read_bytes())
        (folder / "tzdata.zi").write_text(f"# version {version}\nL Asia/Kolkata Asia/Old_Name\n")
    return folder


def run(*folders: Path, program: str = SHOW) -> tuple[list[str], str]:
    """What a process prints and logs that has these folders, and no others, where Python looks for zones."""
    there = os.environ | {"PYTHONTZPATH": os.pathsep.join(map(str, folders)), "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", program], env=there, capture_output=True, text=True, check=True
    )
    return done.stdout.split(), done.stderr


# The rules of before 2026: summer time, and so an hour less in December than there is.
OLD = {
    "America__Vancouver": "America/Los_Angeles",
    "America__Edmonton": "America/Denver",
    "America__Winnipeg": "America/Chicago",
    "Asia__Kolkata": "Asia/Kolkata",
}
# Nine o'clock in Vancouver (-07), Edmonton (-06) and Winnipeg (-05) on 1 December 2026; in India it is noon.
MORNINGS = [f"2026-12-01T{hour}:00:00+00:00" for hour in (16, 15, 14)]
AN_HOUR_LATE = [f"2026-12-01T{hour}:00:00+00:00" for hour in (17, 16, 15)]


@needs_latest
@pytest.mark.parametrize("version", ["2025b", "2026a", None])
def test_old_files_of_the_machine_make_no_call_late(version: str | None, tmp_path: Path) -> None:
    """The package is newer, or nobody knows of when the machine's files are."""
    printed, logged = run(a_machine(tmp_path, version, **OLD))
    assert printed == [database().version, *MORNINGS, "2026-12-01T05:00:00+00:00"]
    assert f"time zone database {database().version} (package tzdata)" in logged


def test_newer_files_of_the_machine_count(tmp_path: Path) -> None:
    """So a machine that is kept up to date needs no newer package; what it lacks is the package's."""
    printed, logged = run(tmp_path / "empty", a_machine(tmp_path / "new", "2099a", **OLD))
    assert printed[:4] == ["2099a", *AN_HOUR_LATE]
    assert f"time zone database 2099a ({tmp_path / 'new'})" in logged


@pytest.mark.parametrize("zones", [{}, {"Asia__Kolkata": "Asia/Kolkata"}])
def test_a_folder_that_only_names_a_version_does_not_count(zones: dict[str, str], tmp_path: Path) -> None:
    """Without zone.tab, or without a compiled zone, none of it would be used."""
    a_machine(tmp_path, "2099a", **zones)
    if zones:
        (tmp_path / "zone.tab").unlink()
    assert run(tmp_path)[0][0] == database().version != "2099a"


@pytest.mark.parametrize("text", [b"", b"version 2099a", b"# version unknown\n", b"\xff\xfe# version 2099a"])
def test_files_of_unknown_version_do_not_count(text: bytes, tmp_path: Path) -> None:
    """Their version stands in the first line of tzdata.zi, if the machine has that file."""
    a_machine(tmp_path, None, **OLD).joinpath("tzdata.zi").write_bytes(text)
    assert run(tmp_path)[0][0] == database().version != "2099a"


def test_the_version_is_logged_once_in_a_process(tmp_path: Path) -> None:
    """One line for all of the calls of a task."""
    _, logged = run(tmp_path)
    assert logged.count("time zone database") == 1 + logged.count("WARNING")


NO_PACKAGE = """
import sys
sys.modules["tzdata"] = None  # so Python remembers that there is no such module
from formant_provider.calling_window import CallingWindow
try:
    print(CallingWindow(timezone="Asia/Tokyo").hours("+919876543210").zones[0].key)
except ValueError as error:
    print(error)
"""


def test_without_any_database_the_remedy_is_named(tmp_path: Path) -> None:
    """The package may be missing where the machine has one; where neither is there, the error says so."""
    zones = {"UTC": "UTC", "Asia__Kolkata": "Asia/Kolkata", "Asia__Tokyo": "Asia/Tokyo"}
    assert run(a_machine(tmp_path / "whole", "2026f", **zones), program=NO_PACKAGE)[0] == ["Asia/Tokyo"]
    shown = " ".join(run(a_machine(tmp_path / "bare", None, **zones), program=NO_PACKAGE)[0])
    assert shown.startswith("calling_window: needs a time zone database")
    assert shown.endswith("pip install tzdata")


def test_an_old_database_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """The warning says what it means, and what to do."""
    with caplog.at_level("INFO"):
        log_version(ZoneDatabase("2025b", Path(), "here"), date(2026, 11, 28))
        log_version(ZoneDatabase("2026f", Path(), "there"), date(2026, 11, 28))
    info, warning, only = caplog.messages
    assert "Calling hours go by time zone database 2025b (here)" in info
    assert "older than 12 months" in warning
    assert "upgrade the package tzdata" in warning
    assert "2026f (there)" in only


AGES = [
    ("2025b", date(2026, 3, 22), False),
    ("2025b", date(2026, 3, 23), True),
    ("2025c", date(2026, 11, 28), False),
    ("2026f", date(2027, 10, 28), False),
    ("2026f", date(2027, 10, 29), True),
    ("2020a", date(2026, 1, 1), True),
    ("2027c", date(2028, 12, 30), False),  # of its day nothing is known here but the year
    ("2027c", date(2029, 1, 2), True),
    ("0001a", date(2026, 1, 1), True),
]


@pytest.mark.parametrize(("version", "today", "expected"), AGES)
def test_a_database_is_old_12_months_after_its_release(version: str, today: date, expected: bool) -> None:
    """Counted from the day it was released, or from the end of its year."""
    assert is_old(version, today) is expected


def test_versions_are_in_the_order_of_their_names() -> None:
    """After z comes za; what is unknown comes first."""
    versions = ["0001a", "2025b", "2025c", "2025z", "2025za", "2026a", "2026f"]
    assert sorted(versions, reverse=True) == versions[::-1]


def test_an_old_name_is_found_where_the_machine_has_no_file_for_it(tmp_path: Path) -> None:
    """Debian and Ubuntu keep old names in a package of their own; tzdata.zi names what each stands for."""
    there = ZoneDatabase("2099a", a_machine(tmp_path, "2099a", **OLD), "here")
    found = there.zone("Asia/Old_Name")
    assert found
    assert found.key == "Asia/Old_Name"
    assert there.zone("Asia/Tokyo") is None
    assert zone("Asia/Calcutta")


@pytest.mark.parametrize(
    "name", ["", "Asia", "zone.tab", "../zoneinfo/UTC", "/etc/localtime", "Asia//Kolkata", "a\0b"]
)
def test_what_is_no_name_of_a_zone_is_none(name: str) -> None:
    """Nothing outside the database is read."""
    assert zone(name) is None


def test_the_zones_of_a_country_are_those_of_zone_tab() -> None:
    """Of one that it does not name, none."""
    assert zone_names("IN") == ("Asia/Kolkata",)
    assert {"America/New_York", "Pacific/Honolulu"} <= set(zone_names("US"))
    assert zone_names("ZZ") == ()

"""What the check says of webhooks, versions, zone data and the triggerer."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from formant_provider.check.findings import Finding, State
from formant_provider.check.triggerer import check_triggerer
from formant_provider.check.versions import check_package, check_versions, check_zone_data
from formant_provider.check.webhooks import check_webhooks
from formant_provider.core.hours.zone_database import ZoneDatabase
from formant_provider.hooks.formant import FormantHook
from support.databases import Database
from support.scripted_server import Answer, ScriptedServer
from support.webhook_server import OTHER, receiving

PATH = "/webhooks/formant_default"


def test_an_event_goes_the_whole_way(sqlite_file: Database) -> None:
    """With the receiver's own check; a plain http address of this machine is a warning."""
    with receiving(sqlite_file) as receiver:
        found = list(check_webhooks(FormantHook(), receiver.url(PATH)))
        assert [finding.state for finding in found].count(State.OK) == len(found) - 1
        assert found[0].state is State.WARNING
        assert [each.event.event_type for each in receiver.stored()] == ["formant.check"]


def test_a_wrong_webhook_secret_is_a_problem(sqlite_file: Database) -> None:
    """Here the receiver still has the secret before it was changed."""
    with receiving(sqlite_file) as receiver:
        list(check_webhooks(FormantHook(), receiver.url(PATH)))
        receiver.connect(later_s=0, webhook_secret=OTHER)
        (refused,) = [
            one for one in check_webhooks(FormantHook(), receiver.url(PATH)) if "signed" in one.text
        ]
        assert refused.state is State.PROBLEM
        assert "answered 401" in refused.text
        assert OTHER not in refused.text


def test_without_a_secret_or_a_url_nothing_is_sent(sqlite_file: Database) -> None:
    """Which of the two is missing is said; a URL without a secret is a problem."""
    with receiving(sqlite_file) as receiver:
        (finding,) = check_webhooks(FormantHook(), None)
        assert (finding.state, "--webhook-url" in finding.text) == (State.NOT_CHECKED, True)
        for url in ("no-url", "https://hooks..example/", f"https://{'a' * 64}.example/"):
            (invalid,) = check_webhooks(FormantHook(), url)
            assert (invalid.state, invalid.text[:25]) == (State.PROBLEM, "--webhook-url: must be a ")
        receiver.connect(webhook_secret="")
        (finding,) = check_webhooks(FormantHook(), receiver.url(PATH))
        assert (finding.state, "Set webhook_secret" in finding.to_do) == (State.PROBLEM, True)
        assert receiver.stored() == []


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Any:
    from support.databases import sqlite_database

    with sqlite_database(tmp_path) as database:
        yield database


def test_all_that_is_installed_here_is_new_enough() -> None:
    """Each package is named with its version."""
    found = [finding for finding in check_versions(date(2026, 11, 28)) if finding.subject == "versions"]
    assert [finding.state for finding in found] == [State.OK] * 3
    assert [finding.text.split()[0] for finding in found[1:]] == ["apache-airflow", "phonenumbers"]


def test_an_older_package_is_a_warning_and_a_missing_one_a_problem() -> None:
    """With pip a package can be older than what needs it, if somebody insists."""
    old = check_package(Requirement("phonenumbers>=9999"))
    assert (old.state, old.to_do) == (State.WARNING, 'pip install "phonenumbers>=9999"')
    gone = check_package(Requirement("no-such-package-of-anybody>=1"))
    assert (gone.state, gone.text) == (State.PROBLEM, "no-such-package-of-anybody is not installed.")


SHOW = """
from datetime import date
from formant_provider.check.versions import check_zone_data
from formant_provider.core.hours.zone_database import available
for finding in check_zone_data(available(), date(2026, 11, 28)):
    print(finding.state.value, finding.text, sep=" | ")
"""


def zone_data(package: str | None, machine: str | None, folder: Path) -> list[str]:
    """What is said in a process that has this version of the package, and files of that version."""
    from importlib import resources

    real = resources.files("tzdata") / "zoneinfo"
    paths = []
    for name, version in (("site/tzdata", package), ("machine", machine)):
        zoneinfo = folder / name / ("zoneinfo" if "site" in name else "")
        (zoneinfo / "Asia").mkdir(parents=True)
        if version:
            (zoneinfo / "zone.tab").write_bytes((real / "zone.tab").read_bytes())
            (zoneinfo / "Asia" / "Kolkata").write_bytes(real.joinpath("Asia", "Kolkata").read_bytes())
            (zoneinfo / "tzdata.zi").write_text(f"# version {version}\n")
        paths.append(zoneinfo)
    (folder / "site" / "tzdata" / "__init__.py").touch()
    there = {
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), os.getcwd()]),
        "PYTHONTZPATH": str(paths[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=os.environ | there, capture_output=True, check=True
    )
    return done.stdout.decode().splitlines()


def test_old_zone_data_is_named_with_where_it_is(tmp_path: Path) -> None:
    """The newest counts for calling hours; the machine's matters to Airflow's schedules all the same."""
    first, second = zone_data("2024a", "2023c", tmp_path)
    assert first.startswith("warning | 2024a (package tzdata). Calling hours go by it. It is older")
    assert second.startswith(f"warning | 2023c ({tmp_path / 'machine'}). Calling hours go by a newer one.")


def test_a_machine_with_newer_zone_data_makes_up_for_an_old_package(tmp_path: Path) -> None:
    """The package is still a warning: on another machine it would count."""
    first, second = zone_data("2024a", "2026f", tmp_path)
    assert first.startswith("warning | 2024a (package tzdata). Calling hours go by a newer one.")
    assert second == f"ok | 2026f ({tmp_path / 'machine'}). Calling hours go by it."


def test_what_to_do_about_zone_data_depends_on_whose_it_is(tmp_path: Path) -> None:
    """By pip the package is renewed, and by the operating system its own."""
    ours, theirs = (
        ZoneDatabase("2020a", tmp_path, source) for source in ("package tzdata", "/usr/share/zoneinfo")
    )
    found = list(check_zone_data([ours, theirs], date(2026, 11, 28)))
    assert [finding.to_do.split()[0] for finding in found] == ["pip", "Upgrade"]
    (none,) = check_zone_data([], date(2026, 11, 28))
    assert none.state is State.PROBLEM


HEARTBEAT = "2026-11-28T10:00:00+00:00"
HEALTH = [
    ({"status": "healthy", "latest_triggerer_heartbeat": HEARTBEAT}, State.OK, "one is alive"),
    ({"status": "unhealthy", "latest_triggerer_heartbeat": HEARTBEAT}, State.PROBLEM, HEARTBEAT),
    ({"status": None, "latest_triggerer_heartbeat": None}, State.WARNING, "none has ever run"),
]


def seen_at(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> Finding:
    """What is said where the API server gives this answer."""
    with ScriptedServer(answer) as server:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", server.base_url)
        found = check_triggerer()
    assert [seen.path for seen in server.seen] == ["/api/v2/monitor/health"]
    return found


@pytest.mark.parametrize(("triggerer", "state", "words"), HEALTH)
def test_the_api_server_tells_of_triggerers(
    triggerer: dict[str, Any], state: State, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the three ways of Airflow's health endpoint: alive, dead, never there."""
    healthy = {"metadatabase": {"status": "healthy"}, "triggerer": triggerer}
    found = seen_at(Answer(200, healthy), monkeypatch)
    assert found.state is state
    assert words in found.text


ELSE = [
    Answer(200, {"hello": "world"}),
    Answer(200, ["metadatabase"]),
    Answer(404, b"<html>"),
    Answer(302, headers={"Location": "http://127.0.0.1:9/"}),
    Answer(200, {"metadatabase": {"status": "unhealthy"}, "triggerer": HEALTH[0][0]}),
]


@pytest.mark.parametrize("answer", ELSE, ids=str)
def test_what_is_no_health_of_airflow_says_nothing(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else may answer at the address: that is neither a living triggerer nor a dead one."""
    assert seen_at(answer, monkeypatch).state not in {State.OK, State.PROBLEM}


def test_where_nobody_can_tell_it_is_said_so(tmp_path: Path) -> None:
    """As on a worker that reaches neither the API server nor a database of Airflow."""
    show = "from formant_provider.check.triggerer import check_triggerer; print(check_triggerer())"
    nowhere = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__API__BASE_URL": "http://127.0.0.1:9",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/no/such/folder.db",
    }
    done = subprocess.run(
        [sys.executable, "-c", show], env=os.environ | nowhere, capture_output=True, check=True
    )
    assert b"not checked  triggerer: cannot be seen from here" in done.stdout


def test_a_database_that_cannot_be_read_is_not_taken_for_a_missing_connection(tmp_path: Path) -> None:
    """On a worker without the metadata database, nobody is told only to create what is there."""
    nowhere = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__API__BASE_URL": "http://127.0.0.1:9",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/no/such/folder.db",
    }
    env = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_CONN_")} | nowhere
    command = [sys.executable, "-m", "formant_provider.check"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "or its database cannot be read" in done.stdout
    assert "run this where the metadata database can be read" in done.stdout

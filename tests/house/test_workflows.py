"""What runs on a server runs on a person's machine: the same commands, once each, on what we promise."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEWEST = re.search(r"^apache-airflow==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


CI = load(ROOT / ".github" / "workflows" / "ci.yml")


def commands(job: dict[str, Any]) -> Iterator[str]:
    """What the steps of a job run, once for each value of its matrix that is a target."""
    for step in job["steps"]:
        for target in job.get("strategy", {}).get("matrix", {}).get("target", [""]):
            if run := step.get("run", "").replace("${{ matrix.target }}", target):
                yield run


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_commands_of_the_project(path: Path) -> None:
    """Each step is a target of make, so that nothing is said twice and everything can be tried here."""
    for name, job in load(path)["jobs"].items():
        assert list(commands(job)), name
        for command in commands(job):
            make, target, *_ = command.split()
            assert make == "make", command
            assert target in TARGETS, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_little_and_trust_little(path: Path) -> None:
    """They read the repository and no more, keep no token, end in time, and use actions at a commit."""
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
    for used in re.findall(r"uses: (.*)", path.read_text()):
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


def test_the_matrix_is_what_we_promise() -> None:
    """Each Airflow with constraints, on each Python of the classifiers; the oldest ones are the bounds."""
    matrix = CI["jobs"]["tests"]["strategy"]["matrix"]
    pythons = re.findall(r":: Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert matrix["python"] == CI["jobs"]["wheel"]["strategy"]["matrix"]["python"] == pythons
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert NEWEST
    older = [
        path.stem.removeprefix("airflow-") for path in sorted((ROOT / "constraints").glob("airflow-*.txt"))
    ]
    assert matrix["airflow"] == sorted([*older, NEWEST[1]])
    (airflow,) = [d for d in PROJECT["dependencies"] if d.startswith("apache-airflow>")]
    assert airflow.startswith(f"apache-airflow>={'.'.join(matrix['airflow'][0].split('.')[:2])}.")


def test_the_browser_runs_at_night_on_the_oldest_and_the_newest() -> None:
    """The connection form is tried where it is made in two different ways."""
    (job,) = load(ROOT / ".github" / "workflows" / "nightly.yml")["jobs"].values()
    assert NEWEST
    oldest = CI["jobs"]["tests"]["strategy"]["matrix"]["airflow"][0]
    assert job["strategy"]["matrix"]["airflow"] == [oldest, NEWEST[1]]
    assert list(commands(job)) == ["make test-browser AIRFLOW=${{ matrix.airflow }}"]


def test_the_wheel_is_built_once_and_tested_as_it_is() -> None:
    """One job builds; another takes what it built, on each Python."""
    built = [name for name, job in CI["jobs"].items() if "make dist" in commands(job)]
    tested = [job for job in CI["jobs"].values() if "make test-dist" in commands(job)]
    assert built == ["build"]
    assert [job["needs"] for job in tested] == built


def test_lint_is_one_command_and_runs_once() -> None:
    """The gate, the server and the hook before a commit all call ``make lint``, each one time."""
    gate = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    server = [command for job in CI["jobs"].values() for command in commands(job)]
    (repo,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert gate.count("make lint") == server.count("make lint") == 1
    assert [hook["entry"] for hook in repo["hooks"]] == ["make lint"]


def test_what_security_promises_is_tested() -> None:
    """Each promise of SECURITY.md names tests that exist, so none of them is a wish."""
    promises = (ROOT / "SECURITY.md").read_text().split("## What we promise")[1].split("\n## ")[0]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    bullets = re.split(r"^- ", promises, flags=re.MULTILINE)[1:]
    assert len(bullets) >= 5
    for promise in bullets:
        names = re.findall(r"`(test_\w+)`", promise)
        assert names, promise
        assert all(re.search(rf"def {name}\(", tests) for name in names), promise

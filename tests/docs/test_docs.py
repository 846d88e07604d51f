"""The documentation says what the code does: snippets run, commands exist, links lead somewhere."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from formant_provider.sandbox import Sandbox
from support.airflow_home import use_own_airflow_home
from support.databases import sqlite_database
from support.pages import (
    PAGES,
    ROOT,
    TEXT,
    assert_batch_call,
    code,
    make_targets,
    of_an_outcome,
    returned_by,
    sandbox_options,
    table,
)
from support.stores import connections_with

CONNECTION = "AIRFLOW_CONN_FORMANT_DEFAULT"
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(#[^)\s]*)?\)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def dag_id(self) -> str | None:
        found = re.search(r"with DAG\(\s*\"(\w+)\"", self.text)
        return found and found.group(1)


def blocks(language: str) -> list[Block]:
    """All blocks of a language, of the pages and the README, unindented."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            indent, name, body = match.groups()
            if name == language:
                lines = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
                found.append(Block(page, text.count("\n", 0, match.start()) + 1, name, lines))
    return found


PYTHON = blocks("python")
DAGS = [block for block in PYTHON if block.dag_id]
TESTS = [block for block in PYTHON if "\ndef test_" in block.text]
SCRIPTS = [block for block in PYTHON if block not in DAGS and block not in TESTS]
COMMANDS = [
    pytest.param(line.removeprefix("$ "), id=f"{block}-{number}")
    for block in blocks("console")
    for number, line in enumerate(block.text.splitlines())
    if line.startswith("$ ")
]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that the default connection points to."""
    with Sandbox(rate_limit=None) as sandbox:
        monkeypatch.setenv(CONNECTION, sandbox.connection_uri())
        yield sandbox


def run(block: Block) -> dict[str, Any]:
    """Execute a block as a module of its own."""
    namespace: dict[str, Any] = {"__name__": f"docs_{block.page.stem}_{block.line}"}
    exec(compile(block.text, str(block), "exec"), namespace)  # noqa: S102 - our own pages
    return namespace


# Snippets


@pytest.mark.engine
@pytest.mark.parametrize("block", DAGS, ids=str)
def test_every_dag_shown_runs_and_rings_each_phone_as_it_says(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DAG copied from a page runs to success in Airflow; each call rings once and leaves its XComs."""
    from support.engine import run_dag_source

    assert block.dag_id
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # some DAGs keep a table from run to run
    # Where a task waits for a call, the call is over at once; elsewhere the clock keeps step with ours.
    if "CallListOperator" in block.text:
        call_the_list(block.text, block.dag_id, tmp_path)
        return
    waits = any(word in block.text for word in ("wait_for_", "Sensor", "BatchCall", "ObjectStorage"))
    batch = "CreateBatchCall" in block.text
    with Sandbox(rate_limit=None, speed=500_000 if waits else 1) as sandbox:
        result = run_dag_source(
            block.text,
            tmp_path,
            block.dag_id,
            run_conf={"phone": "+14155550100", "name": "Asha"},
            env={CONNECTION: sandbox.connection_uri()},
        )
    assert result.state == "success", result.masked_log_text[-3000:]
    documents = table("Key", "Value", having="`total_recipients`" if batch else "`trace_id` |")
    documented = {code(key)[0]: code(value) for key, value in documents}
    calls = [task.xcoms for task in result.tasks.values() if returned_by(task.xcoms).get("placement")]
    assert calls
    if batch:
        assert_batch_call(sandbox, calls, documented)
        return
    assert sandbox.rings.total() == len(calls) == sum(seen.method == "POST" for seen in sandbox.requests)
    for xcoms in calls:
        keys = {key for key in xcoms if not key.startswith("_link")}
        assert keys | {"idempotency_key"} == documented.keys()
        returned = list(xcoms["return_value"])
        assert returned[: len(documented["return_value"])] == documented["return_value"]
        assert set(returned) <= {*documented["return_value"], *of_an_outcome()}


def call_the_list(source: str, dag_id: str, folder: Path) -> None:
    """Run a DAG that calls a list, at any hour: each is called once, and XCom holds what the page says."""
    from support.engine import run_dag_source

    for given, sooner in {
        "09:00": "00:00",
        "20:00": "24:00",
        "agent_id=": "poll_interval=0.2, agent_id=",
    }.items():
        assert source.count(given) == 1, given
        source = source.replace(given, sooner)
    with Sandbox(rate_limit=None, call_speed=500_000) as sandbox, sqlite_database(folder) as database:
        connections = connections_with(database, sandbox)
        env = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(connections[name]) for name in connections}
        source = source.replace("/tmp/formant", str(folder))  # noqa: S108 - of the page, and replaced
        result = run_dag_source(source, folder, dag_id, env=env)
    assert result.state == "success", result.masked_log_text[-3000:]
    assert set(sandbox.rings.values()) == {1}
    (xcoms,) = (
        task.xcoms for task in result.tasks.values() if "by_status" in (returned_by(task.xcoms) or ())
    )
    assert list(xcoms) == ["return_value"]
    documented = [name for row in table("Field of a list", "Value") for name in code(row[0])]
    assert sorted(xcoms["return_value"]) == sorted(documented)


@pytest.mark.engine
@pytest.mark.parametrize("block", TESTS, ids=str)
def test_every_test_shown_passes(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pytest example copied from a page passes, where ``dags`` holds the DAG of Getting started."""
    from support.engine import _init_database
    from support.isolation import process_left_alone

    _init_database()
    started = next(block for block in DAGS if block.page.name == "getting-started.md")
    dag_file = use_own_airflow_home() / "dags" / "remind.py"
    dag_file.write_text(started.text)
    monkeypatch.chdir(use_own_airflow_home())
    try:
        for name, test in run(block).items():
            if name.startswith("test_"):
                with process_left_alone():
                    test(monkeypatch)
    finally:
        dag_file.unlink()


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_every_other_python_snippet_runs(block: Block) -> None:
    """A snippet copied from a page runs, and what it asserts is true."""
    run(block)


def test_every_page_with_code_is_looked_at() -> None:
    """No snippet escapes: every fence of the pages is of a kind that some test here knows."""
    known = {"python", "json", "ini", "console", "text"}
    for page in PAGES:
        fences = re.findall(r"^ *```(\S+)", page.read_text(), re.MULTILINE)
        assert {name for name in fences if not name.startswith("{")} <= known, page.name


def test_json_and_ini_snippets_parse() -> None:
    """What is shown as JSON or as configuration can be read as such."""
    for block in blocks("json"):
        json.loads(block.text)
    for block in blocks("ini"):
        configparser.ConfigParser().read_string(block.text)


def test_the_body_shown_is_the_body_sent() -> None:
    """The JSON under "What is sent" is what the shown operator sends, key included."""
    from formant_provider.api import models
    from formant_provider.core import keys
    from formant_provider.core.validation import to_parameters

    section = TEXT.split("\n## What is sent\n")[1]
    operator = run(next(block for block in SCRIPTS if "2026-04-08T14:00:00Z" in block.text))["call"]
    parameters = to_parameters(operator.parameters)
    request = models.CallRequest(
        agent_id=operator.agent_id,
        parameters=parameters,
        scheduled_for=datetime.fromisoformat(operator.scheduled_for),
        idempotency_key=keys.key_for_task(
            dag_id="remind",
            run_id="manual__2026-04-07T09:00:00+00:00",
            task_id=operator.task_id,
            agent_id=operator.agent_id,
            recipient=dict(parameters)["customer_phone"],
        ),
    )
    shown = FENCE.search(section[section.index("```json") :])
    assert shown
    assert json.loads(shown.group(3)) == request.body()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_exists(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets of make, options of the sandbox and of Airflow, connections and curl requests are real."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        assert set(words[1:]) <= make_targets()
    elif words[:3] == ["python", "-m", "formant_provider.sandbox"]:
        assert {word for word in words if word.startswith("--")} <= sandbox_options()
    elif words[:3] == ["python", "-m", "formant_provider.contacts"]:
        from formant_provider.contacts import command_line

        command_line().parse_args(words[3:])
    elif words[:3] == ["python", "-m", "formant_provider.store"]:
        from formant_provider.store.__main__ import command_line as store_commands

        store_commands().parse_args(words[3:])
    elif words[:3] == ["python", "-m", "formant_provider.webhooks"]:
        from formant_provider.webhooks.__main__ import command_line as webhook_commands

        webhook_commands().parse_args(words[3:])
    elif words[:3] == ["python", "-m", "formant_provider.check"]:
        from formant_provider.check.__main__ import command_line as check_options

        check_options().parse_args(words[3:])
    elif words[0] == "airflow":
        from airflow.cli.cli_parser import get_parser

        get_parser().parse_args(words[1:])
    elif words[0] == "export":
        from formant_provider.hooks.formant import FormantHook

        variables = dict(word.split("=", 1) for word in words[1:])
        assert all(name.startswith("AIRFLOW") for name in variables)
        if CONNECTION in variables:
            monkeypatch.setenv(CONNECTION, variables[CONNECTION])
            assert FormantHook().get_config().api_key
    elif words[0] == "curl":
        curl(words[1:])
    else:
        assert words[:2] == ["pip", "install"], f"nobody checks {words[0]}"


def curl(words: list[str]) -> None:
    """Send what curl would, to a sandbox of our own instead."""
    (url,) = (word for word in words if word.startswith("http"))
    data = words[words.index("-d") + 1] if "-d" in words else None
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if data else "GET"
    with Sandbox() as sandbox:
        path = url.removeprefix("http://127.0.0.1:8085")
        assert requests.request(method, sandbox.base_url + path, data=data, timeout=60).ok


# Links and names


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "AGENTS.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a page of ours names a file that exists, and a heading that is in it."""
    for target, anchor in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.is_file(), f"{page.name} -> {target}"
        if anchor:
            assert anchor[1:] in anchors(file), f"{page.name} -> {target}{anchor}"


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MyST and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_table_of_contents() -> None:
    """Each page can be reached from the first one."""
    listed = {ROOT / "docs" / "index.md"}
    for page in PAGES:
        for toctree in re.findall(r"```{toctree}\n(.*?)```", page.read_text(), re.DOTALL):
            names = [line for line in toctree.split("\n") if line and not line.startswith(":")]
            listed |= {page.parent / f"{name}.md" for name in names}
    assert listed == {page for page in PAGES if page.is_relative_to(ROOT / "docs")}

"""The documentation says what the code does: snippets run, tables are complete, links lead somewhere."""

from __future__ import annotations

import ast
import configparser
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import requests

from formant_provider.sandbox import Fault, Sandbox, faults, numbers
from formant_provider.sandbox.settings import Settings
from support.airflow_home import use_own_airflow_home
from support.pages import assert_campaign, code, of_an_outcome, returned_by, table

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
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
    for page in [*PAGES, ROOT / "README.md"]:
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
def test_every_dag_shown_runs_and_rings_each_phone_as_it_says(block: Block, tmp_path: Path) -> None:
    """A DAG copied from a page runs to success in Airflow; each call rings once and leaves its XComs."""
    from support.engine import run_dag_source

    assert block.dag_id
    # Where a task waits for a call, the call is over at once; elsewhere the clock keeps step with ours.
    waits = block.page.name in {"waiting.md", "campaigns.md", "recipes.md"} or "wait_for_" in block.text
    with Sandbox(rate_limit=None, speed=500_000 if waits else 1) as sandbox:
        result = run_dag_source(
            block.text,
            tmp_path,
            block.dag_id,
            run_conf={"phone": "+14155550100", "name": "Asha"},
            env={CONNECTION: sandbox.connection_uri()},
        )
    assert result.state == "success", result.masked_log_text[-3000:]
    page = "campaigns.md" if block.page.name == "campaigns.md" else "operator.md"
    documented = {code(key)[0]: code(value) for key, value in table(page, "## What XCom holds")}
    calls = [task.xcoms for task in result.tasks.values() if returned_by(task.xcoms).get("placement")]
    assert calls
    if page == "campaigns.md":
        assert_campaign(sandbox, calls, documented)
        return
    assert sandbox.rings.total() == len(calls) == sum(seen.method == "POST" for seen in sandbox.requests)
    for xcoms in calls:
        keys = {key for key in xcoms if not key.startswith("_link")}
        assert keys | {"idempotency_key"} == documented.keys()
        returned = list(xcoms["return_value"])
        assert returned[: len(documented["return_value"])] == documented["return_value"]
        assert set(returned) <= {*documented["return_value"], *of_an_outcome()}


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
    for page in [*PAGES, ROOT / "README.md"]:
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

    section = (ROOT / "docs" / "operator.md").read_text().split("## What is sent")[1]
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
        assert requests.request(method, sandbox.base_url + path, data=data, timeout=5).ok


@cache
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def sandbox_options() -> set[str]:
    """The options that the sandbox's own help names."""
    command = [sys.executable, "-m", "formant_provider.sandbox", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z-]+", text.partition("options:")[2])) - {"--help"}


# Tables


def test_every_parameter_of_the_operator_is_documented() -> None:
    """The tables name each parameter and its default, none besides, the templated ones apart."""
    from formant_provider.operators.call import FormantCreateCallOperator as Operator

    wanted = dict(inspect.signature(Operator.__init__).parameters)
    del wanted["self"], wanted["kwargs"]
    rows = {code(name)[0]: default for name, _, default, _ in table("operator.md", "## Parameters")}
    assert list(rows) == list(Operator.template_fields)
    rows |= {code(name)[0]: default for name, _, default in table("operator.md", "### Options")}
    rows |= {code(name)[0]: default for name, _, default in table("waiting.md", "## Options")}
    assert list(rows) == list(wanted)
    for name, default in rows.items():
        if wanted[name].default is inspect.Parameter.empty:
            assert default.startswith("required")
        else:
            assert code(default)[0] == str(wanted[name].default)


def test_values_become_text_as_the_table_says() -> None:
    """Each row of the value table holds: the Python value on the left is sent as the text on the right."""
    from formant_provider.api.errors import InvalidInput
    from formant_provider.core.validation import to_parameters

    names = {"Decimal": Decimal, "date": date, "datetime": datetime, "UTC": UTC}
    rows = table("operator.md", "### The recipient and what the agent is told")
    assert len(rows) > 5
    for source, sent in rows:
        value = eval(code(source)[0], names)  # noqa: S307 - our own pages
        parameters = {"customer_phone": "+14155550100", "value": value}
        if sent == "refused":
            with pytest.raises(InvalidInput):
                to_parameters(parameters)
        else:
            assert dict(to_parameters(parameters))["value"] == code(sent)[0]


def test_every_error_ends_a_task_as_the_table_says() -> None:
    """Each error is in the table; whether it is re-sent, retried and may have rung is as in the code."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    from formant_provider.api import errors, retry
    from formant_provider.tasks.failures import placing_a_call

    every = (kind for kind in vars(errors).values() if isinstance(kind, type))
    kinds = {kind.__name__: kind for kind in every if issubclass(kind, errors.FormantError)}
    rows = {code(row[1])[0]: row[2:] for row in table("operator.md", "## When something goes wrong")}
    assert set(rows) == set(kinds) - {"FormantError", "RetryableError"}
    for name, (sent_again, retried, rung) in rows.items():
        error = kinds[name]("a", "b") if name in {"InvalidInput", "InputNotFound"} else kinds[name]("a")
        with pytest.raises(Exception, match="a") as caught, placing_a_call():
            raise error
        assert (sent_again == "yes") is retry.may_repeat(error), name
        assert (retried == "no") is isinstance(caught.value, AirflowFailException), name
        known = retry.is_unclear(error) or error.maybe_placed or name.endswith("OutcomeUnknown")
        assert rung.startswith("yes") is known, name


def test_the_limits_of_repeats_are_those_of_the_code() -> None:
    """The prose on repeats quotes the retry policy's own numbers."""
    from formant_provider.api.retry import RetryPolicy

    policy = RetryPolicy()
    text = " ".join((ROOT / "docs" / "operator.md").read_text().split())
    assert policy.max_attempts == 4
    assert "at most four sends" in text
    assert f"never longer than {policy.max_inline_wait_s:g} seconds" in text
    assert f"together never longer than {policy.max_total_wait_s:g}" in text


def test_every_connection_field_is_documented() -> None:
    """The tables of fields, regions and refusals of the connection page match form, hosts and client."""
    from formant_provider.api import config
    from formant_provider.provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR

    rows = {code(name)[0]: (label, text) for name, _, label, text in table("connection.md", "## Fields")}
    timeouts = ["connect_timeout", "read_timeout"]
    assert list(rows) == ["password", "region", "host", "port", *timeouts, "conversation_url_template"]
    assert {name for name in rows if name in CONN_FIELDS} == set(CONN_FIELDS)
    labels = {name: field["label"] for name, field in CONN_FIELDS.items()} | UI_FIELD_BEHAVIOUR["relabeling"]
    labels |= dict.fromkeys(UI_FIELD_BEHAVIOUR["hidden-fields"], "hidden")
    assert {name: label for name, (label, _) in rows.items()} == {name: labels[name] for name in rows}
    assert code(rows["region"][1])[0] == config.DEFAULT_REGION
    assert code(rows["connect_timeout"][1])[0] == f"{config.DEFAULT_CONNECT_TIMEOUT_S:g}"
    assert code(rows["read_timeout"][1])[0] == f"{config.DEFAULT_READ_TIMEOUT_S:g}"
    regions = {
        code(name)[0]: code(url)[0] for name, url in table("connection.md", "## Which server is asked")
    }
    assert regions == dict(config.REGIONS)
    refused = {name for row in table("connection.md", "## What is refused") for name in code(row[0])}
    assert refused == {"conn_type", "extra", *rows} - {"port"}
    assert f"at most {config.MAX_TIMEOUT_S:g}" in (ROOT / "docs" / "connection.md").read_text()


def test_every_setting_of_the_sandbox_is_documented() -> None:
    """The table of settings names each one with its default, in the order of the code."""
    rows = [(code(name)[0], code(default)[0]) for name, default, _ in table("sandbox.md", "## Settings")]
    wanted = [(field.name, repr(field.default).replace("'", '"')) for field in fields(Settings)]
    assert rows == wanted


def test_every_option_of_the_sandbox_is_documented() -> None:
    """The table of options names each one of the command line, and its default as the help has it."""
    rows = {code(name)[0]: default for name, default, _ in table("sandbox.md", "## On the command line")}
    assert set(rows) == sandbox_options()
    from formant_provider.sandbox.__main__ import _parser

    for action in _parser()._actions:
        option = action.option_strings[-1]
        if option in rows and code(rows[option]) and option != "--agent":
            assert code(rows[option])[0] == str(action.default).removesuffix(".0")


def test_every_test_number_is_documented() -> None:
    """The table of test numbers is the table of the code, cell by cell."""
    wanted = [
        [
            row["ends_in"],
            f"`{row['status']}`",
            f"{row['lasts_seconds']} s",
            f"{row['duration_seconds']} s" if row["duration_seconds"] is not None else "-",
            row["failure_reason"] or "-",
            row["note"],
        ]
        for row in numbers.table_rows()
    ]
    assert table("sandbox.md", "## Test numbers") == wanted


def test_every_fault_is_documented() -> None:
    """The table of faults is the list of the code, cell by cell, and the defaults are right."""
    wanted = [
        [f"`{fault}`", "after" if fault.after else "before", faults.DESCRIPTIONS[fault]] for fault in Fault
    ]
    assert table("sandbox.md", "## Faults") == wanted
    text = (ROOT / "docs" / "sandbox.md").read_text()
    seconds, retry_after = faults.DEFAULT_HANG_SECONDS, faults.DEFAULT_RETRY_AFTER_SECONDS
    assert f"`seconds` is {seconds:g} and `retry_after` is {retry_after}" in text


def test_every_endpoint_of_the_sandbox_is_documented() -> None:
    """What the page says is served is what can be asked, no more and no less."""
    text = (
        (ROOT / "docs" / "sandbox.md").read_text().split("## What it answers")[1].split("Everything else")[0]
    )
    assert set(code(text)) == set(faults.ENDPOINTS)


def test_every_control_endpoint_is_documented() -> None:
    """The table of control endpoints names each one."""
    from formant_provider.sandbox.control import COMMANDS as WANTED

    rows = [code(row[0])[0] for row in table("sandbox.md", "## Over HTTP")]
    assert rows == [" ".join(command) for command in WANTED]


def test_what_a_test_can_look_at_exists() -> None:
    """Every name of the sandbox in the table for pytest is one of its attributes."""
    names = {
        re.split(r"\W", text.removeprefix("sandbox."))[0]
        for row in table("sandbox.md", "## In pytest")
        for text in code(row[0])
    }
    public = {name for name in vars(Sandbox) if not name.startswith("_")}
    assert names == public


def test_the_arrows_of_the_architecture_are_those_of_the_code() -> None:
    """The table of rooms lists every module outside the sandbox, with exactly the imports it has."""
    package = ROOT / "formant_provider"
    found = {}
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        if not name.endswith("__init__") and not name.startswith("sandbox"):
            found[name] = own_imports(path)
    rows = table("architecture.md", "## One question, one room")
    assert {code(module)[0]: set(code(imports)) for _, module, imports in rows} == found


def own_imports(path: Path) -> set[str]:
    """The modules of the package that a file imports, named without the package."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("formant_provider."):
            module = str(node.module).removeprefix("formant_provider.")
            names |= {f"api.{alias.name}" for alias in node.names} if module == "api" else {module}
    return names


# Links and names


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
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
    toctree = re.search(r"```{toctree}\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
    assert toctree
    listed = set(toctree.group(1).split()) - {":hidden:"}
    assert listed | {"index"} == {page.stem for page in PAGES}


def test_every_name_in_the_reference_exists() -> None:
    """What the reference promises can be imported, with the members it lists."""
    text = (ROOT / "docs" / "reference.md").read_text()
    directives = re.findall(r"^\.\. auto(\w+):: (\S+)\n(?: +:members: ?(.*)\n)?", text, re.MULTILINE)
    assert len(directives) == text.count(".. auto") > 10
    for kind, name, members in directives:
        module, _, attribute = name.rpartition(".")
        documented = import_module(name) if kind == "module" else getattr(import_module(module), attribute)
        for member in filter(None, members.split(", ")):
            assert hasattr(documented, member), f"{name}.{member}"


def test_every_error_and_sandbox_name_is_in_the_reference() -> None:
    """All public names that users import are in the reference."""
    import formant_provider.sandbox

    text = (ROOT / "docs" / "reference.md").read_text()
    assert ".. automodule:: formant_provider.api.errors\n   :members:" in text
    for name in formant_provider.sandbox.__all__:
        assert re.search(rf"autoclass:: formant_provider\.sandbox\.\w+\.{name}\n", text), name

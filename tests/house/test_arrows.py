"""The map of rooms in docs/architecture.md, held: imports go one way, and rooms stay readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "formant_provider"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each room may import of the package, itself aside. A room that is missing here fails the test.
ARROWS: dict[str, set[str]] = {
    "__init__": {"__about__", "provider_info"},
    "__about__": set(),
    "provider_info": {"api.config"},
    "api": {"__init__"},
    "hooks": {"api", "provider_info"},
    "operators": {"api", "hooks", "triggers", "runs", "state", "options", "privacy", "failures"}
    | {
        "links",
        "outcome",
        "placing",
        "receipts",
        "references",
        "results",
        "timing",
        "waiting",
        "calling_window",
    }
    | {"campaign", "campaign_placing", "campaign_report", "campaign_waiting"}
    | {"contact_files", "contact_options"}
    | {"dry_runs", "lateness", "outputs"}
    | {"archive", "files", "reads", "tables"},
    "sensors": {"api", "hooks", "triggers", "runs", "state", "privacy", "failures", "links", "outcome"}
    | {"campaign", "fields", "options", "references", "results", "waiting"},
    "notifications": {"api", "hooks", "privacy"},
    "decorators": {"api", "operators", "fields", "privacy", "failures"},
    "placing": {"api", "hooks", "triggers", "runs", "state", "options", "privacy", "timing", "waiting"},
    "timing": {"api", "calling_window", "do_not_call", "lateness", "options", "privacy"},
    "lateness": {"api", "options"},
    "dry_runs": {"api"},
    "do_not_call": {"api", "fields", "file_parts", "privacy"},
    "file_parts": {"api", "files"},
    "fields": {"api.errors", "privacy"},
    "references": {"api.errors"},
    "results": {"api.errors", "runs"},
    "receipts": {"api", "dry_runs", "state", "outcome", "placing", "privacy", "references", "results"},
    "calling_window": {"api"},
    "waiting": {"api", "hooks", "triggers", "options"},
    "outcome": {"api", "hooks", "triggers", "links", "results", "waiting", "reads"},
    "campaign": {"api", "hooks", "triggers", "options", "results", "waiting", "reads"},
    "campaign_placing": {
        "api",
        "hooks",
        "runs",
        "state",
        "options",
        "privacy",
        "outputs",
        "campaign_report",
        "campaign_rows",
        "contact_files",
        "contact_options",
        "dry_runs",
        "lateness",
        "references",
        "results",
        "timing",
    },
    "campaign_waiting": {
        "api",
        "hooks",
        "triggers",
        "failures",
        "campaign",
        "campaign_placing",
        "campaign_report",
        "results",
        "waiting",
    },
    "contacts": {"api", "calling_window"},
    "campaign_report": {"api", "hooks", "campaign_rows", "files", "options", "reads", "tables"},
    "campaign_rows": {"api", "files"},
    "outputs": {"api", "campaign_rows", "file_parts", "files", "options", "tables"},
    "contact_files": {"api", "campaign_rows", "contact_options", "do_not_call", "file_parts", "files"},
    "contact_options": {"api", "options"},
    "links": set(),
    "options": {"api.progress"},
    "triggers": {"api", "hooks", "triggering"},
    "triggering": {"api", "hooks"},
    "runs": {"api"},
    "state": {"api", "runs"},
    "retries": {"api.errors", "failures"},
    "failures": {"api.errors"},
    "reads": {"api.errors", "api.retry", "failures"},
    "files": {"api.errors"},
    "tables": {"api"},
    "archive": {"api", "files", "tables"},
    "privacy": set(),
    "sandbox": set(),
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def room_of(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module a file imports, and whether it does so at the top, where DAG parsing pays for it."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path.name}: relative imports hide the arrow"
            yield node.module, id(node) in top and id(node) not in guarded


def ours(module: str) -> str | None:
    if module == "formant_provider":
        return "__init__"
    return module.removeprefix("formant_provider.") if module.startswith("formant_provider.") else None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_follow_the_arrows(path: Path) -> None:
    """A room imports itself and what the map allows, nothing else of the package."""
    room = room_of(name_of(path))
    for module, _ in imports_of(path):
        target = ours(module)
        if target is None or room_of(target) == room:
            continue
        assert target in ARROWS[room] or room_of(target) in ARROWS[room], f"{path.name} imports {module}"


@pytest.mark.parametrize("room", ["api", "sandbox"])
def test_these_rooms_know_nothing_of_airflow(room: str) -> None:
    """The API client and the sandbox work without Airflow."""
    for path in (PACKAGE / room).rglob("*.py"):
        for module, _ in imports_of(path):
            assert not module.startswith("airflow"), f"{path.name} imports {module}"


def test_only_the_client_room_imports_requests() -> None:
    """One module sends; two more make its connections and read what came back."""
    users = {name_of(path) for path in MODULES for module, _ in imports_of(path) if module == "requests"}
    assert users == {"api.client", "api.answers", "api.transport"}


HEAVY = {"requests", "urllib3", "phonenumbers", "starlette", "uvicorn", "pydantic", "pyarrow"}
LOADED_WITH_A_DAG = [
    "__init__",
    "provider_info",
    "failures",
    "privacy",
    "runs",
    "state",
    "retries",
    "tables",
    "triggers",
    "hooks",
    "links",
    "placing",
    "timing",
    "calling_window",
    "waiting",
    "outcome",
    "campaign",
    "triggering",
    "sensors",
    "operators",
    "notifications",
    "decorators",
]


@pytest.mark.parametrize("room", LOADED_WITH_A_DAG)
def test_rooms_that_dag_files_load_import_nothing_heavy_at_the_top(room: str) -> None:
    """What a DAG file loads leaves the heavy libraries for the moment of the call."""
    for path in MODULES:
        if room_of(name_of(path)) == room or (room == "__init__" and name_of(path) == "__init__"):
            heavy = {module for module, top in imports_of(path) if top and room_of(module) in HEAVY}
            assert not heavy, f"{path.name} imports {heavy}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    """No module has more than 300 lines, no function more than 50; an operator's parameters are a table."""
    assert len(path.read_text().splitlines()) <= 300
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.body[0].lineno < 50, f"{path.name}: {node.name}"


def test_a_test_file_is_read_in_one_sitting() -> None:
    """No test file has more than 500 lines."""
    for path in (ROOT / "tests").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 500, path.name


REPLACEABLE = (
    'monkeypatch.setattr("time.sleep"',
    'monkeypatch.setattr(pendulum, "now"',
    'monkeypatch.setattr("importlib.metadata.version"',
    'monkeypatch.setattr("sys.stdin"',
)


def test_nothing_of_our_own_is_patched_in_tests() -> None:
    """Tests talk to a server over loopback; only the clock, and Airflow and its version, may be."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        calls = [
            ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        for call in calls:
            assert not call.startswith(("patch(", "mock.patch", "mocker.")), f"{path.name}: {call}"
            if call.startswith("monkeypatch.setattr("):
                assert call.replace("'", '"').startswith(REPLACEABLE), f"{path.name}: {call}"

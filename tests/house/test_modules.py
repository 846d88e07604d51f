"""What every module keeps to, besides the layers of import-linter: it is light at the top, and short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "formant_provider"
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
HEAVY = {"requests", "urllib3", "phonenumbers", "starlette", "uvicorn", "pydantic", "pyarrow", "holidays"}


def imported_at_the_top(path: Path) -> Iterator[str]:
    """The libraries a module loads as soon as it is imported; what is for type checkers alone is not."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


LOADED_WITH_A_DAG = [name for name in MODULES if not name.startswith(("api", "core", "sandbox"))]


@pytest.mark.parametrize("name", LOADED_WITH_A_DAG)
def test_what_a_dag_file_loads_imports_nothing_heavy_at_the_top(name: str) -> None:
    """The modules that know Airflow leave the heavy libraries for the moment of the call."""
    assert not HEAVY & set(imported_at_the_top(MODULES[name]))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_read_in_one_sitting(name: str) -> None:
    """No module has more than 300 lines, no function more than 50; an operator's parameters are a table."""
    source = MODULES[name].read_text()
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.body[0].lineno < 50, node.name


def test_a_test_file_is_read_in_one_sitting() -> None:
    """No test file has more than 500 lines."""
    for path in (ROOT / "tests").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 500, path.name


REPLACEABLE = (
    'monkeypatch.setattr("time.sleep"',
    'monkeypatch.setattr(pendulum, "now"',
    'monkeypatch.setattr("importlib.metadata.version"',
    'monkeypatch.setattr("sys.stdin"',
    'monkeypatch.setattr(tempfile, "tempdir"',
)


def test_nothing_of_our_own_is_patched_in_tests() -> None:
    """Tests talk to a server over loopback; only Python's and Airflow's own things may be."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        calls = (ast.unparse(n) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
        for call in calls:
            assert not call.startswith(("patch(", "mock.patch", "mocker.")), f"{path.name}: {call}"
            if call.startswith("monkeypatch.setattr("):
                assert call.replace("'", '"').startswith(REPLACEABLE), f"{path.name}: {call}"

"""The wheel works where nothing of this checkout is: in a venv of its own, beside Airflow alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from formant_provider import __version__, get_provider_info

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"

ASK_AIRFLOW = """
import json, formant_provider
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
print(json.dumps({
    "file": formant_provider.__file__,
    "version": manager.providers["airflow-provider-formant"].version,
    "connection": manager.hooks["formant"].hook_class_name,
    "decorators": [name for name in manager.taskflow_decorators if name.startswith("formant")],
}))
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, wheel_file: Path) -> Path:
    """A venv with the wheel and what it needs, at the versions that were tested."""
    folder = tmp_path_factory.mktemp("clean")
    install(folder, wheel_file)
    return folder


def install(folder: Path, wheel: Path) -> None:
    venv, wanted = folder / "venv", ["--constraint", CONSTRAINTS, wheel]
    uv = Path(sys.executable).with_name("uv")
    try:
        # All of it was fetched when this venv was set up, so the network is not needed.
        run(folder, uv, "venv", "--quiet", venv, "--python", sys.executable)
        run(folder, uv, "pip", "install", "--quiet", "--offline", "--python", python_of(folder), *wanted)
    except (AssertionError, FileNotFoundError):  # it was set up by pip
        run(folder, sys.executable, "-m", "venv", "--clear", venv)
        run(folder, python_of(folder), "-m", "pip", "install", "--quiet", *wanted)


def python_of(folder: Path) -> Path:
    return folder / "venv" / "bin" / "python"


def run(folder: Path, *command: object) -> str:
    """Run a command away from the checkout, with an Airflow home of its own; return what it prints."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHONPATH"))
    }
    env |= {"AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "COLUMNS": "200"}
    words: Sequence[str] = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_airflow_finds_all_that_the_wheel_brings(clean: Path) -> None:
    """Airflow's own registry has the provider, its connection type and its decorators, from the wheel."""
    found = json.loads(run(clean, python_of(clean), "-c", ASK_AIRFLOW).splitlines()[-1])
    info = get_provider_info()
    assert Path(found["file"]).is_relative_to(clean)
    assert found["version"] == __version__
    assert found["connection"] == info["connection-types"][0]["hook-class-name"]
    assert found["decorators"] == [decorator["name"] for decorator in info.get("task-decorators", [])]


def test_the_command_line_lists_the_provider(clean: Path) -> None:
    """`airflow providers list` names it with its version."""
    listed = run(clean, python_of(clean), "-m", "airflow", "providers", "list", "--output", "json")
    versions = {row["package_name"]: row["version"] for row in json.loads(listed[listed.index("[") :])}
    assert versions["airflow-provider-formant"] == __version__


def test_what_is_installed_fits_together(clean: Path) -> None:
    """No package misses another one or has it in a version that it does not take."""
    run(clean, sys.executable, "-m", "pip", "--python", python_of(clean), "check")

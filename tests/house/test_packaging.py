"""The wheel holds the package and nothing else, and is typed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import formant_provider

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_every_module_and_the_type_marker(wheel: zipfile.ZipFile) -> None:
    """All modules, py.typed and the licence are shipped; tests, examples and scripts are not."""
    names = set(wheel.namelist())
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "formant_provider").rglob("*.py")}
    assert package <= names
    assert "formant_provider/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"formant_provider"}


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    """Name, version, Python and entry point are those of the project."""
    info = f"airflow_provider_formant-{formant_provider.__version__}.dist-info"
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "Name: airflow-provider-formant" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "formant_provider:get_provider_info" in wheel.read(f"{info}/entry_points.txt").decode()

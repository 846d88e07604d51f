"""Types and style are part of the promise, so they are tests too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKS = {
    "mypy_strict_on_the_package": ["mypy"],
    "ruff_check": ["ruff", "check", "--no-fix", "."],
    "ruff_format": ["ruff", "format", "--check", "."],
    "layers": ["lint-imports", "--no-cache", "--no-logo"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_is_clean(check: str) -> None:
    """Strict mypy and the layers of imports on the package, and ruff on everything, have nothing to say."""
    tool, *arguments = CHECKS[check]
    command = [Path(sys.executable).with_name(tool), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

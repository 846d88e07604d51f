"""``make bench-faults`` keeps its promises: recipes compared in a real Airflow, and an exit code to go by."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.engine


def test_two_faults_are_compared() -> None:
    """The script shows rings and lost calls of each recipe, and ends with 0 when ours are as promised."""
    command = [sys.executable, "scripts/bench_faults.py", "--faults", "503_after,down"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines() if "/" in line or "ours" in line]
    head, accepted, down, sums = (line for line in lines if len(line) == 7)
    assert head[1:] == ["HttpOperator", "deferrable", "@task", "@task + key", "ours", "ours, no record"]
    assert accepted[0] == "503, accepted"
    assert accepted[1:] == ["2/1", "2/1", "2/1", "1/1 failed", "1/0", "1/0 unconfirmed"]
    assert down == ["API down for the first try", *["1/0"] * 6]
    assert sums == ["all", "3/1", "3/1", "3/1", "2/1", "2/0", "2/0"]

"""``make bench-wait`` keeps its promises: both sides are counted, and an exit code to go by."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.engine


def test_a_hundred_calls_are_waited_for_within_the_bound() -> None:
    """Every call's end is told, ours ask once where the others ask each, and the script ends with 0."""
    command = [sys.executable, "scripts/bench_wait.py", "--calls", "100", "--no-storm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    rows = {line[0]: line[1:] for line in lines if len(line) == 7}
    ours, listed, each = rows["ours"], rows["ours, trace ids in the list"], rows["one trigger a call"]
    assert [side[0] for side in (ours, listed, each)] == ["100"] * 3
    assert (ours[2], listed[2]) == ("100", "0")
    assert int(each[1]) > 10 * int(ours[1])

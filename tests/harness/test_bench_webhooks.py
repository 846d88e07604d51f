"""``make bench-webhooks`` keeps its promises: what was answered is stored, once, and counted so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.engine


def test_three_seconds_of_events_are_each_stored_once() -> None:
    """Each is sent twice; none is lost, and answers come in time for the vendor, on any machine."""
    command = [sys.executable, "scripts/bench_webhooks.py", "--seconds", "3", "--rate", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    said = dict(re.findall(r"^(\w+) +(.*)$", done.stdout, re.MULTILINE))
    assert said["answers"] == "200: 600", done.stdout + done.stderr
    assert (said["sent"], said["stored"]) == ("300 events, each twice", "300")
    assert [said[name].split()[0] for name in ("lost", "twice", "missing")] == ["0", "0", "0"]
    assert float(said["p99"].split()[0]) < 5000

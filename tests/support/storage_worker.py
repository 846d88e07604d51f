"""A worker of Airflow: runs tasks one after the other, in a process of its own that may be killed.

Reads a task from each line of standard input, with the connections that it uses. Prints a line of JSON for
each: what it came to, and how much more memory it took at its peak than before.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run what standard input names."""
    told, sys.stdout = sys.stdout, sys.stderr  # where Airflow logs
    from support.airflow_home import use_own_airflow_home

    use_own_airflow_home()
    for line in sys.stdin:
        with Memory() as memory:
            came = run(json.loads(line))
        came["grew_bytes"] = memory.peak - memory.before
        print(json.dumps(came, default=str), file=told, flush=True)


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run one task to its end, over all deferrals."""
    from support.supervisor import FakeSupervisor
    from support.task_run import run_task, run_trigger

    module, name = task["operator"].split(":")
    make, channel = getattr(import_module(module), name), FakeSupervisor(task["connections"])
    result = run_task(make(task_id="task", **task["fields"]), channel)
    while result.deferral is not None:
        fired = run_trigger(result.deferral, channel, 60)
        result = run_task(make(task_id="task", **task["fields"]), channel, resume_event=fired.event)
    return {
        "state": result.state,
        "error": str(result.error or ""),
        "result": result.xcoms.get("return_value"),
        "log": "\n".join(line for line in result.log_text.splitlines() if not line.startswith("debug")),
    }


class Memory:
    """How much memory this process has at most, while something is done."""

    def __enter__(self) -> Memory:
        self.before = self.peak = _resident()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.01):
            self.peak = max(self.peak, _resident())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    main()

"""What the parts of a running Airflow use: CPU, and the memory of the processes of tasks."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil  # comes with Airflow

PARTS = ("scheduler", "api-server", "dag-processor", "triggerer")
# The DAG processor reads files over and over, whatever runs.
ALL = ("scheduler", "api-server", "triggerer", "tasks")


def cpu_by_part(standalone: int) -> Counter[str]:
    """Return the seconds of CPU that each part of Airflow has used so far, with processes that have ended."""
    found: Counter[str] = Counter()
    for process in psutil.Process(standalone).children():
        with suppress(psutil.NoSuchProcess):
            part, (own, ended) = _part(process), _cpu_s(process)
            # What the scheduler has started are the executor's workers, and they start the tasks.
            found[part] += own
            found["tasks" if part == "scheduler" else part] += ended + sum(
                sum(_cpu_s(each)) for each in process.children(recursive=True)
            )
    return found


def _part(process: psutil.Process) -> str:
    line = " ".join(process.cmdline()).replace("_", "-")
    return next(part for part in PARTS if part in line)


def _cpu_s(process: psutil.Process) -> tuple[float, float]:
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0, 0.0
    return used.user + used.system, used.children_user + used.children_system


class Peaks:
    """Looks twice a second, in a thread of its own, how much memory the processes of tasks have."""

    def __init__(self, standalone: int) -> None:
        self.mb = {"RSS": 0.0, "PSS": 0.0}
        self._standalone = standalone
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            for process in _task_processes(self._standalone):
                with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                    rss_mb = _kb(process.pid, "status", "VmHWM") / 1024
                    pss_mb = _kb(process.pid, "smaps_rollup", "Pss") / 1024
                    self.mb = {"RSS": max(self.mb["RSS"], rss_mb), "PSS": max(self.mb["PSS"], pss_mb)}


def _task_processes(standalone: int) -> list[psutil.Process]:
    """Return the processes of tasks: what the executor's workers have started."""
    found = []
    for scheduler in psutil.Process(standalone).children():
        with suppress(psutil.NoSuchProcess):
            if _part(scheduler) == "scheduler":
                found += [task for worker in scheduler.children() for task in worker.children()]
    return found


def _kb(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)

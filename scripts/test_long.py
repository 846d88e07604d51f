"""The state machine of placing for as many steps as asked, with random seeds, in two processes.

Prints seeds, steps, what fired and each violation with its smallest example. Not for CI.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

STEPS, PROCESSES = int(os.environ.get("STEPS", "200000")), 2
STEPS_PER_EXAMPLE, EXAMPLES_PER_SEED = 50, 40
ROOT = Path(__file__).parents[1]


def main() -> int:
    """Start the processes, wait, add up."""
    began = time.monotonic()
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, str(STEPS // PROCESSES)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(PROCESSES)
    ]
    fired: Counter[str] = Counter()
    violations: list[str] = []
    for worker in workers:
        lines = worker.communicate()[0].splitlines()
        told = json.loads(lines[-1]) if worker.returncode == 0 and lines else {}
        fired.update(told.get("fired", {}))
        violations += told.get("violations", [f"a process ended with {worker.returncode}"])
        print(f"seeds {told.get('seeds')}")
    for name, count in sorted(fired.items()):
        print(f"{count:>9,} {name}")
    print(f"{fired['steps']:,} steps in {time.monotonic() - began:,.0f} s; {len(violations)} violations")
    for violation in violations:
        print(f"\n{violation}")
    return 1 if violations else 0


def work(steps: int) -> None:
    """Run whole seeds until so many steps are done; the last line of stdout is the result as JSON."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.airflow_home import use_own_airflow_home

    use_own_airflow_home()
    from hypothesis import HealthCheck, seed, settings
    from hypothesis.stateful import run_state_machine_as_test

    from support.machine import FIRED, PlacingMachine

    chosen = settings(
        max_examples=EXAMPLES_PER_SEED,
        stateful_step_count=STEPS_PER_EXAMPLE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    seeds: list[int] = []
    violations: list[str] = []
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Airflow's task runner talks to stdout
    with contextlib.redirect_stdout(sys.stderr if os.environ.get("TALK") else open(os.devnull, "w")):
        while FIRED["steps"] < steps:
            seeds.append(random.randrange(2**32))  # noqa: S311 - no secret
            try:
                run_state_machine_as_test(seed(seeds[-1])(PlacingMachine), settings=chosen)
            except BaseException as error:  # noqa: BLE001, RUF100 - groups of violations are among them
                violations.append(f"seed {seeds[-1]}: {_in_words(error)}")
    os.write(out, json.dumps({"seeds": seeds, "fired": FIRED, "violations": violations}).encode() + b"\n")
    os._exit(0)


def _in_words(error: BaseException) -> str:
    parts = getattr(error, "exceptions", [error])
    return "\n\n".join("\n".join([f"{type(p).__name__}: {p}", *_steps_of(p)]) for p in parts)


def _steps_of(error: BaseException) -> list[str]:
    notes = "\n".join(getattr(error, "__notes__", []))
    return [line for line in notes.splitlines() if "nothing_went_unnoticed" not in line]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(int(sys.argv[1]))
    sys.exit(main())

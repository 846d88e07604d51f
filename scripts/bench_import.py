"""Measures what `import formant_provider.operators.call` adds to `from airflow.sdk import BaseOperator`.

Every pair runs the two imports in fresh processes, in turn, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

PAIRS = 15
BASE = "from airflow.sdk import BaseOperator"
OURS = f"{BASE}; import formant_provider.operators.call"


def import_seconds(statement: str) -> float:
    """Import in a fresh process; return the seconds it took there."""
    code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(out.stdout.splitlines()[-1])


def main() -> None:
    """Print the medians and the median of the paired ratios."""
    import_seconds(OURS)  # warms the disk cache and the byte code
    pairs = [(import_seconds(BASE), import_seconds(OURS)) for _ in range(PAIRS)]
    base, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{BASE}: {base:.3f} s; with the operator: {ours:.3f} s (medians of {PAIRS})")
    print(f"median of the paired ratios: {ratio:.3f}, which is {100 * (ratio - 1):+.1f} %")


if __name__ == "__main__":
    main()

"""Measures what validating and uploading contacts costs, beside copying the file with the csv module alone.

Pandas, which reads the same file as text and checks nothing, is a peer in the same run where it is installed.
Each step runs in a fresh process, in turn, so that a noisy machine disturbs all alike and memory is its own.
The upload goes to a server in this process that reads it and does nothing else.
"""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.core.contacts.cleaning import clean_contacts
from formant_provider.core.contacts.sources import open_contacts, opened_contacts
from formant_provider.core.tables.file_kinds import FileForm
from formant_provider.core.tables.parts import local_parts

ROWS = 1_000_000
ROUNDS = 5
LEAST_RATIO, MAX_MB = 0.57, 128
PARTS = 100
HEADER = ["customer_phone", "customer_name", "loan_id", "due_amount"]
NAMES = ["Rahul Sharma", "Lopez, Ana", "Jürgen Groß", "नमस्ते", "O'Neil", "Li Wei", "Maria", 'Sam "Ace" T']


def number(random_: random.Random) -> str:
    """Return a number that can be called, of one of three countries."""
    kind = random_.random()
    if kind < 0.6:
        return f"+91{random_.randrange(6 * 10**9, 10**10)}"
    if kind < 0.9:
        return f"+1{random_.choice([212, 305, 415, 646])}{random_.randrange(2 * 10**6, 10**7)}"
    return f"+4479{random_.randrange(10**8):08}"


def contacts(rows: int) -> Iterator[list[str]]:
    """Return contacts of which one in a thousand has a defect, and some numbers come twice by chance."""
    random_ = random.Random(5)  # noqa: S311 - the same file on every machine
    for row in range(rows):
        cells = [number(random_), random_.choice(NAMES), f"LN-{row}", str(random_.randrange(100, 99999))]
        if row % 1000 == 500:
            cells = random_.choice([["4155552671", *cells[1:]], [*cells[:3], ""], cells[:3]])
        yield cells


def build(path: Path, rows: int = ROWS) -> None:
    """Write the file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER])
        csv.writer(file).writerows(contacts(rows))


def build_parts(source: Path, folder: Path, parts: int = PARTS) -> None:
    """Write the rows of a file as a folder of parts, each with the header, as warehouses do."""
    folder.mkdir()
    with source.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows)
        for part in range(parts):
            with (folder / f"part-{part:05}.csv").open("w", newline="", encoding="utf-8") as sink:
                csv.writer(sink).writerows([header])
                csv.writer(sink).writerows(islice(rows, -(-ROWS // parts)))
    (folder / "_SUCCESS").touch()


def copy(source: Path, target: Path) -> None:
    """Copy through the csv module, in its fastest form."""
    with (
        source.open(newline="", encoding="utf-8") as rows,
        target.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows(csv.reader(rows))


def read_with_pandas(source: Path, _: Path) -> None:
    """Read the file as pandas does it best when numbers are to stay text."""
    import pandas

    pandas.read_csv(source, dtype=str)


def validate(source: Path, target: Path) -> None:
    """Write a clean file and one of rejects."""
    with (
        source.open("rb") as rows,
        target.open("wb") as file,
        target.with_suffix(".rejects").open("wb") as other,
    ):
        needed = ("customer_name", "due_amount")
        clean_contacts(
            open_contacts(rows), file, rejects=other, required_variables=needed, invalid_rows="reject"
        )


def validate_parts(source: Path, target: Path) -> None:
    """Do the same with a folder of parts."""
    parts, form = local_parts(source.with_suffix(".parts")), FileForm()
    with target.open("wb") as file, target.with_suffix(".rejects").open("wb") as other:
        needed = ("customer_name", "due_amount")
        with opened_contacts(parts, form) as contacts_:
            clean_contacts(contacts_, file, rejects=other, required_variables=needed, invalid_rows="reject")


def validate_and_upload(source: Path, target: Path) -> None:
    """Do what a task does for a batch call, without Airflow."""
    validate(source, target)
    with FormantClient(ClientConfig(os.environ[SERVER], "bench-key")) as client:
        client.create_batch_call(456, "bench", target)


WHOLE = {"validate 100 parts": validate_parts, "validate and upload": validate_and_upload}
STEPS = {"copy": copy, "validate": validate, **WHOLE}
if find_spec("pandas"):
    STEPS = {"copy": copy, "pandas": read_with_pandas, **STEPS}
SERVER = "BENCH_SERVER"


class Reader(BaseHTTPRequestHandler):
    """Takes any upload."""

    def do_POST(self) -> None:
        """Read everything, and say that it was accepted."""
        left = int(self.headers["Content-Length"])
        while left > 0:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        body = json.dumps({"data": {"id": 1, "name": "bench", "total_recipients": ROWS}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def server() -> Iterator[None]:
    """Let the steps find a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Reader) as reader:
        threading.Thread(target=reader.serve_forever, daemon=True).start()
        os.environ[SERVER] = f"http://127.0.0.1:{reader.server_address[1]}"
        yield
        reader.shutdown()


def step(name: str, source: Path) -> tuple[float, float]:
    """Run a step in a fresh process; return its seconds, and the MB of memory that it took at its peak."""
    out = subprocess.run(
        [sys.executable, __file__, name, str(source)], capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, out.stdout.split())
    return seconds, megabytes


def run_step(name: str, source: Path) -> None:
    """Run a step in this process, and print what :func:`step` returns."""
    idle_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    STEPS[name](source, source.with_suffix(f".{name}"))
    seconds = time.perf_counter() - start
    print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle_kb) / 1024)


def main() -> int:
    """Print medians, paired ratios and peaks of memory; 0 when both bounds of the whole are kept."""
    with tempfile.TemporaryDirectory() as folder, server():
        source = Path(folder) / "contacts.csv"
        build(source)
        build_parts(source, source.with_suffix(".parts"))
        print(f"{ROWS:,} rows, {source.stat().st_size / 1e6:.0f} MB", flush=True)
        step("validate", source)  # warms the disk cache and the byte code
        rounds = [{name: step(name, source) for name in STEPS} for _ in range(ROUNDS)]
    for name in STEPS:
        seconds = statistics.median(each[name][0] for each in rounds)
        ratio = statistics.median(each["copy"][0] / each[name][0] for each in rounds)
        peak = max(each[name][1] for each in rounds)
        print(
            f"{name}: {seconds:.2f} s, {ratio:.2f} of the speed of copying, at most {peak:.0f} MB above idle"
        )
    return 0 if ratio >= LEAST_RATIO and peak < MAX_MB else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_step(sys.argv[1], Path(sys.argv[2]))
    else:
        raise SystemExit(main())

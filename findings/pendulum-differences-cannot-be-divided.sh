#!/bin/sh
# pendulum 3.3.0: the difference of two datetimes is a datetime.timedelta that cannot be divided by one.
#
# Interval and Duration are subclasses of timedelta, so isinstance() says that whatever takes a timedelta takes them. But
# `difference / timedelta(hours=1)`, the usual way to count hours, and // and % with a timedelta too, raise
# AttributeError: 'datetime.timedelta' object has no attribute '_to_microseconds'. Airflow hands out pendulum datetimes,
# and the difference of one of them and any aware datetime is such an Interval; total_seconds() works.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pendulum==3.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import operator
from datetime import UTC, datetime, timedelta

import pendulum

late_by = pendulum.datetime(2026, 11, 28) - datetime(2026, 11, 25, tzinfo=UTC)
assert isinstance(late_by, timedelta)
assert timedelta(days=3) / timedelta(hours=1) == 72
print(type(late_by).__name__, "is a timedelta of", late_by.total_seconds() / 3600, "hours")
for divide in (operator.truediv, operator.floordiv, operator.mod):
    try:
        raise SystemExit(f"it has changed: {divide(late_by, timedelta(hours=1))}")
    except AttributeError as error:
        print(f"{divide.__name__}: AttributeError: {error}")
PYTHON

#!/bin/sh
# pyarrow 26.0.1: csv.read_csv() takes a column of numbers in E.164 for doubles, and write_csv() gives it exponents.
#
# Of an integer pyarrow's CSV refuses a plus sign ("invalid value"), of a double it does not. So "+442079460018" is
# inferred as double, while the same column without plus signs is int64. Read and written again, without another word,
# the number is 4.42079460018e+11: its digits are all there, but few who read phone numbers expect an exponent. 00
# for the plus sign is lost, and the column is int64. column_types={"phone": "string"} keeps both.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import io

import pyarrow
from pyarrow import csv

SEEN = {
    "+442079460018": ("double", "4.42079460018e+11"),
    "442079460018": ("int64", "442079460018"),
    "00442079460018": ("int64", "442079460018"),
}
AS_TEXT = csv.ConvertOptions(column_types={"phone": "string"})
for number, seen in SEEN.items():
    source = f"phone,name\n{number},Asha\n".encode()
    table, sink = csv.read_csv(io.BytesIO(source)), io.BytesIO()
    csv.write_csv(table, sink)
    written = sink.getvalue().decode().splitlines()[1].split(",")[0]
    print(f"{number}: read as {table.schema.types[0]}, written as {written}")
    assert (str(table.schema.types[0]), written) == seen, "it has changed"
    kept = csv.read_csv(io.BytesIO(source), convert_options=AS_TEXT)["phone"][0].as_py()
    assert kept == number, "it has changed"
try:
    as_integers = csv.ConvertOptions(column_types={"phone": "int64"})
    csv.read_csv(io.BytesIO(b"phone,name\n+442079460018,Asha\n"), convert_options=as_integers)
except pyarrow.ArrowInvalid as error:
    print(f"+442079460018 as int64: {error}")
else:
    raise AssertionError("it has changed")
PYTHON

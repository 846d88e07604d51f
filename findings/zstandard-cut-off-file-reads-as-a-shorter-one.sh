#!/bin/sh
# zstandard 0.25.0: a .zst file that was cut off on its way is read without an error, as a shorter one.
#
# stream_reader() and zstandard.open() return what could be unpacked and then the end of the file; gzip and bz2 of
# Python raise EOFError there. pandas 3.1.1 reads through it, so read_csv() of a cut off .csv.zst is a frame with fewer
# rows: recipients of a list are missing, and nobody is told. Seen: of 100000 rows some 46000 are read. The object
# that decompressobj() makes tells, by .eof.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet zstandard==0.25.0 pandas==3.1.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import gzip
import pathlib
import sys

import pandas
import zstandard

folder = pathlib.Path(sys.argv[1])
rows = [f"+1{2015550000 + 7919 * n % 7000000000},{n * n % 1000003}\n" for n in range(100000)]
text = ("customer_phone,due\n" + "".join(rows)).encode()
whole = zstandard.ZstdCompressor().compress(text)
(folder / "c.csv.zst").write_bytes(whole[: len(whole) // 2])
with zstandard.open(folder / "c.csv.zst", "rb") as file:
    size = len(file.read())
print(f"zstandard: {size} of {len(text)} bytes, and no error")
assert 0 < size < len(text), "it has changed"
frame = pandas.read_csv(folder / "c.csv.zst", dtype=str, on_bad_lines="error")
print(f"pandas: {len(frame)} of {len(rows)} rows, and no error")
assert 0 < len(frame) < len(rows), "it has changed"
packed = gzip.compress(text)
(folder / "c.csv.gz").write_bytes(packed[: len(packed) // 2])
try:
    pandas.read_csv(folder / "c.csv.gz", dtype=str)
    raise SystemExit("gzip: no error, it has changed")
except EOFError as error:
    print("gzip:", error)
PYTHON

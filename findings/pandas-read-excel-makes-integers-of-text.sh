#!/bin/sh
# pandas 3.1.1: read_excel() makes integers of cells that are text in the workbook, and drops a plus sign or 00.
#
# The workbook says of each cell that it is text (openpyxl wrote it, and reads it back so). Seen: a column of phone numbers
# as text, "+442079460018" or "00442079460018" or "02079460018", becomes int64, with either engine (openpyxl, calamine);
# with one cell blank it becomes float64. So a national number can no longer be told from one with a country code.
# python-calamine and openpyxl themselves, and polars, return the text. dtype=str keeps it. Reported more than once
# (pandas issues 11331, 12186, 61539); in the first it was called the expected behaviour.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pandas==3.1.1 openpyxl==3.1.5 python-calamine==0.9.1 polars==2.1.0 fastexcel==0.21.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import openpyxl
import pandas
import polars
import python_calamine

WRITTEN = ["+442079460018", "00442079460018", "02079460018"]
for written in WRITTEN:
    book = openpyxl.Workbook()
    for row in (["customer_phone", "name"], [written, "Asha"], [written, "Rahul"]):
        book.active.append(row)
    book.save("text.xlsx")
    cell = openpyxl.load_workbook("text.xlsx").active["A2"]
    assert (cell.data_type, cell.value) == ("s", written), "the cell is no text"
    read = {
        engine: pandas.read_excel("text.xlsx", engine=engine)["customer_phone"] for engine in ("openpyxl", "calamine")
    }
    for engine, column in read.items():
        print(f"{written}: pandas with {engine}: {column.dtype} {column[0]}")
        assert column.dtype == "int64", "it has changed"
        assert column[0] == int(written), "it has changed"
    sheet = python_calamine.load_workbook("text.xlsx").get_sheet_by_index(0)
    kept = [
        sheet.to_python()[1][0],
        polars.read_excel("text.xlsx")["customer_phone"][0],
        pandas.read_excel("text.xlsx", engine="openpyxl", dtype=str)["customer_phone"][0],
    ]
    print(f"{written}: calamine, polars, pandas with dtype=str: {kept}")
    assert kept == [written] * 3, "it has changed"
PYTHON

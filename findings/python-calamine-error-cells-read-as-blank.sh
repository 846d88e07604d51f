#!/bin/sh
# python-calamine 0.9.1: a cell with an error (#N/A) and a formula without its result both read as "", as blank cells do.
#
# A list whose amounts come from VLOOKUP has #N/A where nothing is found, and one that openpyxl or another program wrote
# has formulas that no spreadsheet has calculated yet. calamine itself knows an error for what it is; its Python
# binding returns empty text, so that who reads the amounts out cannot tell "nothing due" from "not known". Seen with
# 0.9.1: both cells are ''. openpyxl with data_only=True gives '#N/A' and None.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet python-calamine==0.9.1 openpyxl==3.1.5
"$folder/venv/bin/python" - "$folder/list.xlsx" <<'PYTHON'
import sys

import openpyxl
from python_calamine import CalamineWorkbook

book = openpyxl.Workbook()
book.active.append(["customer_phone", "due", "total"])
book.active.append(["+14155550100", "#N/A", "=1+1"])  # an error, and a formula
book.save(sys.argv[1])
row = CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0).to_python()[1]
print("python-calamine:", row)
assert row[1:] == ["", ""], "it has changed"
known = [cell.value for cell in openpyxl.load_workbook(sys.argv[1], data_only=True).active[2]]
print("openpyxl:", known)
assert known[1:] == ["#N/A", None], "it has changed"
PYTHON

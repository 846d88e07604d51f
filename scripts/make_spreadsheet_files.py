"""Opens two good lists of contacts in LibreOffice and saves them again, as people do; see the .sh beside it.

The sources are ``world.csv`` (E.164) and ``britain.csv`` (as at home) in ``tests/files/spreadsheets``; what
LibreOffice makes of them goes to ``made`` beside them, as ``LIST-LOCALE.KIND``.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import openpyxl

FILES = Path(__file__).resolve().parents[1] / "tests" / "files" / "spreadsheets"
LOCALES = ("en-US", "en-IN", "de-DE", "fr-FR")

# Options of LibreOffice's CSV filter: separator, quote, encoding (76 is UTF-8), first line, kinds of columns,
# language, quote all text, numbers as such, cells as they are shown.
OPENED, OPENED_AS_TEXT = "CSV:44,34,76,1", "CSV:44,34,76,1,1/2"
CSV = "csv:Text - txt - csv (StarCalc):"
AS_SHOWN, AS_HELD = f"{CSV}44,34,76,1,,0,false,true,true", f"{CSV}44,34,76,1,,0,false,true,false"
SEMICOLONS_IN_WINDOWS_1252 = f"{CSV}59,34,ANSI,1,,0,false,true,true"

# A locale, and no picture of the sheet in the files, which would be most of their size.
SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Setup/L10N">
<prop oor:name="ooSetupSystemLocale" oor:op="fuse"><value>{locale}</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Save/Document">
<prop oor:name="GenerateThumbnail" oor:op="fuse"><value>false</value></prop></item>
</oor:items>
"""


class Office:
    """LibreOffice in one locale, with settings of its own."""

    def __init__(self, locale: str, folder: Path) -> None:
        self._locale, self._folder = locale, folder / locale
        (self._folder / "user").mkdir(parents=True)
        settings = SETTINGS.format(locale=locale)
        (self._folder / "user" / "registrymodifications.xcu").write_text(settings)

    def save(self, source: Path, kind: str, opened: str | None = None) -> None:
        """Open a file, save it as another kind, and put that among the files of the tests.

        :param source: its name, up to the suffix, is that of the list.
        :param kind: the suffix, and behind a colon the filter and its options.
        :param opened: the filter for opening, and its options.
        """
        command = ["soffice", f"-env:UserInstallation={self._folder.as_uri()}", "--headless"]
        command += [f"--infilter={opened}"] if opened else []
        command += ["--convert-to", kind, "--outdir", str(self._folder), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        suffix = kind.partition(":")[0]
        made = self._folder / f"{source.stem}.{suffix}"
        shutil.move(made, FILES / "made" / f"{source.stem}-{self._locale}.{suffix}")


def a_csv(path: Path, phone: Callable[[str], str]) -> Path:
    """Write the contacts of the world once more, with their numbers written otherwise."""
    header, *rows = read(FILES / "world.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *([phone(number), *rest] for number, *rest in rows)])
    return path


def a_workbook(path: Path, phone: Callable[[str], str | int], number_format: str = "General") -> Path:
    """Write the contacts of the world to a workbook, with real amounts and dates."""
    header, *rows = read(FILES / "world.csv")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(header)
    for number, name, amount, day in rows:
        sheet.append([phone(number), name, float(amount), date.fromisoformat(day)])
        sheet.cell(sheet.max_row, 1).number_format = number_format
        sheet.cell(sheet.max_row, 3).number_format = "#,##0.00"
        sheet.cell(sheet.max_row, 4).number_format = "mm-dd-yy"  # the short date of whatever locale
    book.save(path)
    return path


def read(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, the header first."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def make(folder: Path) -> None:
    """Write all files; the folder is for what is needed on the way."""
    world, britain, text = FILES / "world.csv", FILES / "britain.csv", folder / "text.csv"
    shutil.copy(world, text)
    zeros = a_csv(folder / "zeros.csv", lambda number: f"00{number[1:]}")
    rounded = a_csv(folder / "rounded.csv", lambda number: f"{int(number):.2E}")
    thousands = a_workbook(folder / "thousands.xlsx", int, "#,##0")
    exponents = a_workbook(folder / "exponents.xlsx", int, "0.00E+00")
    cells = a_workbook(folder / "cells.xlsx", str)
    formulas = a_workbook(folder / "formulas.xlsx", lambda number: f"={number}")
    quoted_formulas = a_workbook(folder / "quoted-formulas.xlsx", lambda number: f'="{number}"')
    for locale in LOCALES:
        office = Office(locale, folder)
        for source in (world, britain, zeros):
            office.save(source, AS_SHOWN, OPENED)
        office.save(rounded, AS_HELD, OPENED)
        office.save(thousands, AS_SHOWN)
        office.save(exponents, AS_SHOWN)
        office.save(cells, AS_SHOWN)
        if locale in {"en-US", "de-DE"}:
            for kind in ("xlsx", "ods"):
                office.save(world, kind, OPENED)
                office.save(text, kind, OPENED_AS_TEXT)
            office.save(text, AS_SHOWN, OPENED_AS_TEXT)
    office = Office("en-GB", folder)
    for kind in ("xlsx", "ods"):
        office.save(exponents, kind)
        office.save(formulas, kind)
        office.save(quoted_formulas, kind)
    office.save(formulas, AS_SHOWN)
    office.save(cells.rename(folder / "western.xlsx"), SEMICOLONS_IN_WINDOWS_1252)


def main() -> None:
    """Write all files, and say what wrote them."""
    shutil.rmtree(FILES / "made", ignore_errors=True)
    (FILES / "made").mkdir()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
    version = subprocess.run(
        ["soffice", "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()
    print(f"{version}: {len(list((FILES / 'made').iterdir()))} files")


if __name__ == "__main__":
    main()

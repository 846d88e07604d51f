"""Ten contacts as programs write them, and what a batch call makes of such a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.core.contacts.cleaning import clean_contacts
from formant_provider.core.contacts.sources import open_contacts

FILES = Path(__file__).resolve().parents[1] / "files" / "spreadsheets"
WORLD, BRITAIN = FILES / "world.csv", FILES / "britain.csv"
MADE = FILES / "made"


class Outcome(NamedTuple):
    """Whom a batch call would call, by name; and, if it calls nobody, why."""

    called: dict[str, str]
    refusal: str


def rows_of(path: Path) -> list[dict[str, str]]:
    """The contacts of a CSV file, as they are written."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Whom each list means: the number of everybody in it, by name.
RIGHT = {
    "world": {row["customer_name"]: row["customer_phone"] for row in rows_of(WORLD)},
    "britain": {row["customer_name"]: f"+44{row['customer_phone'][1:]}" for row in rows_of(BRITAIN)},
}


def outcome(content: bytes, *, delimiter: str = ",", numbers: Any = None, **options: Any) -> Outcome:
    """Read a file as a batch call does, up to the clean file that would be uploaded."""
    clean = io.BytesIO()
    try:
        contacts = open_contacts(io.BytesIO(content), delimiter=delimiter, numbers=numbers)
        clean_contacts(contacts, clean, numbers=numbers, **options)
    except InvalidInput as error:
        return Outcome({}, str(error))
    rows = csv.DictReader(io.StringIO(clean.getvalue().decode(), newline=""))
    return Outcome({row["customer_name"]: row["customer_phone"] for row in rows}, "")


def cases(names: Iterable[str]) -> list[Any]:
    """Parameters of a test, each under its own name."""
    return [pytest.param(name, id=name) for name in names]

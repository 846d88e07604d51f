"""What LibreOffice makes of a good list is read back as the right ten numbers, or refused with the remedy.

The files were written by ``scripts/make_spreadsheet_files.sh``: opened and saved again, in four locales.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from batches.real_files import MADE, RIGHT, Outcome, cases, outcome

LOCALES = ("en-US", "en-IN", "de-DE", "fr-FR")
# What a user says of a list.
WITHOUT_PLUS: dict[str, Any] = {"numbers": "e164_without_plus"}
AT_HOME: dict[str, Any] = {"default_country": "GB"}
# What a refusal has to say.
SAY_NUMBERS, SAY_COUNTRY, SAY_UTF_8 = r'numbers="e164_without_plus"', "default_country", "save it as UTF-8"
DIGITS_GONE, THOUSANDS, NO_VALUE = "scientific notation|end in .* zeros", "thousands", "formula"


class Made(NamedTuple):
    """What was made of a list.

    :param refusal: what a batch call without options says; ``""``: it calls everybody.
    :param cure: the options with which it calls everybody; ``None``: there are none, and it calls nobody.
    """

    refusal: str
    cure: dict[str, Any] | None = None


def everywhere(name: str, made: Made) -> dict[str, Made]:
    return {f"{name}-{locale}.csv": made for locale in LOCALES}


def workbooks(name: str, locales: tuple[str, ...], made: Made) -> dict[str, Made]:
    return {f"{name}-{locale}.{kind}": made for locale in locales for kind in ("xlsx", "ods")}


GOOD, LOST_PLUS = Made("", {}), Made(SAY_NUMBERS, WITHOUT_PLUS)
CASES: dict[str, Made] = {
    **everywhere("world", LOST_PLUS),
    **everywhere("zeros", LOST_PLUS),
    **everywhere("britain", Made(SAY_COUNTRY, AT_HOME)),
    **everywhere("cells", GOOD),
    **everywhere("thousands", Made(THOUSANDS)),
    **everywhere("exponents", Made(DIGITS_GONE)),
    **everywhere("rounded", Made(DIGITS_GONE)),
    "text-en-US.csv": GOOD,
    "text-de-DE.csv": GOOD,
    "formulas-en-GB.csv": LOST_PLUS,
    "western-en-GB.csv": Made(SAY_UTF_8),
    **workbooks("text", ("en-US", "de-DE"), GOOD),
    **workbooks("world", ("en-US", "de-DE"), LOST_PLUS),
    **workbooks("exponents", ("en-GB",), LOST_PLUS),
    **workbooks("formulas", ("en-GB",), LOST_PLUS),
    **workbooks("quoted-formulas", ("en-GB",), GOOD),
}
# French thousands are parted by blanks, as people part numbers too, and so can be read if told what they are.
CASES["thousands-fr-FR.csv"] = Made(SAY_NUMBERS, WITHOUT_PLUS)
# Any country of the list may be said of it, and that its numbers are whole.
COUNTRIES = ("US", "GB", "IN", "DE", "FR", "IT", "BR", "MX", "AU")
SAID = [{}, WITHOUT_PLUS, *({"default_country": country} for country in COUNTRIES)]


def read(name: str, **options: Any) -> Outcome:
    if not name.endswith(".csv"):
        pytest.importorskip("python_calamine")
    delimiter = ";" if name.startswith("western") else ","
    return outcome((MADE / name).read_bytes(), delimiter=delimiter, **options)


def right(name: str) -> dict[str, str]:
    return RIGHT["britain" if name.startswith("britain") else "world"]


def test_every_file_is_read() -> None:
    """No file is there that no test reads."""
    assert {path.name for path in MADE.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", cases(CASES))
def test_it_is_right_or_refused(name: str) -> None:
    """Without a word about its numbers, a list is called as it was meant, or not at all."""
    assert read(name).called == ({} if CASES[name].refusal else right(name))


@pytest.mark.parametrize("name", cases(CASES))
def test_a_refusal_names_the_remedy(name: str) -> None:
    """Who reads the error knows what to do next."""
    assert re.search(CASES[name].refusal, read(name).refusal)


@pytest.mark.parametrize("name", cases(CASES))
def test_with_the_remedy_it_is_right(name: str) -> None:
    """With the word that the remedy asks for all ten are called; where digits are gone, nobody is."""
    cure = CASES[name].cure
    assert read(name, **(WITHOUT_PLUS if cure is None else cure)).called == (
        {} if cure is None else right(name)
    )


@pytest.mark.parametrize("name", cases(CASES))
def test_nobody_else_is_called(name: str) -> None:
    """Also where rows that cannot be called are left out, no stranger is called in place of a contact."""
    true_of_it = [{}, AT_HOME] if name.startswith("britain") else SAID
    called = [(said, read(name, invalid_rows="reject", **said).called) for said in true_of_it]
    assert not [said for said, numbers in called if not numbers.items() <= right(name).items()]

"""Translates numbers of old numbering plans into those of today, where the old number tells the new one.

Plans change, and lists do not. ``phonenumbers`` knows the plans of its own version and none before them: a
number that was valid once is refused as impossible, or called in vain. Here are changes whose old numbers are
still in lists, each with its source. A number that is valid today is today's, whatever it once was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from formant_provider.core.numbers.recipient import Recipient


class OldPlan(NamedTuple):
    """What has changed in a country.

    :param rules: for each pattern of the old number, behind the country code, what it is today. No number
        matches two of them.
    """

    change: str
    rules: Mapping[str, str]


# The four digits that Vietnamese mobile numbers began with, behind the 0 that is dialled at home.
_VIETNAM = {
    "120": "70", "121": "79", "122": "77", "126": "76", "128": "78",
    "123": "83", "124": "84", "125": "85", "127": "81", "129": "82",
    "162": "32", "163": "33", "164": "34", "165": "35", "166": "36", "167": "37", "168": "38", "169": "39",
    "186": "56", "188": "58", "199": "59",
}  # fmt: skip

PLANS: Mapping[str, OldPlan] = {
    # Instituto Federal de Telecomunicaciones, Plan Técnico Fundamental de Numeración, 11 May 2018:
    # https://www.ituob.org/issues/1151-en (communication of 12.VI.2018). libphonenumber's recipes agree:
    # https://github.com/google/libphonenumber/blob/master/migrator/src/data/recipes.csv
    "52": OldPlan(
        "Mexico dropped the 1 after +52, and 01, 044 and 045 before a number, in 2019",
        {"(?:1|01|044|045)([2-9][0-9]{9})": r"\1"},
    ),
    # ARCEP Bénin, 30 November 2024: https://fr.allafrica.com/stories/202411300249.html
    "229": OldPlan("Benin put 01 before every number of eight digits in 2024", {"([24-9][0-9]{7})": r"01\1"}),
    # ARTCI, 31 January 2021. Which prefix each operator has: https://newsgeek.ci/2020/07/28/telephonie-la-
    # cote-divoire-bascule-a-10-chiffres-a-partir-du-31-janvier-2021. Whose a number was is told by its second
    # digit, or by the third of a landline: https://github.com/dykoffi/ccu (fonctions.js), and for mobile
    # numbers https://github.com/ouattararomuald/numbering-plan
    "225": OldPlan(
        "Côte d'Ivoire put two digits, one pair for each operator, before every number of eight in 2021",
        {
            "([04-9][0-3][0-9]{6})": r"01\1",
            "([04-9][4-6][0-9]{6})": r"05\1",
            "([04-9][7-9][0-9]{6})": r"07\1",
            "(2[0-9]8[0-9]{5})": r"21\1",
            "([23][0-9]0[0-9]{5})": r"25\1",
            "(2[0-9][1-79][0-9]{5}|3[0-9][1-9][0-9]{5})": r"27\1",
        },
    ),
    # Ministry of Information and Communications, 15 September 2018 to 30 June 2019:
    # https://mobifone.vn/wps/portal/public/gioi-thieu/doi-dau-so/Doi_dau_so_top_1/ke-hoach-trien-khai-
    # chuyen-doi-thue-bao; all operators: https://sggpnews.org.vn/science_technology/mobile-phone-numbers-
    # conversion-to-affect-60-million-subscribers-nationwide-76279.html; libphonenumber's recipes agree.
    "84": OldPlan(
        "Vietnam shortened the mobile numbers that began with 01 in 2018",
        {f"{old}([0-9]{{7}})": rf"{new}\1" for old, new in _VIETNAM.items()},
    ),
    # Anatel, Resolution 553/2010, from 2012 to 6 November 2016:
    # https://vcfaz.tv/2012/10/anatel-define-cronograma-de-implementao-do-nono-dgito-em-todo-pas/
    # Those with a 7 were in part of trunked radio, which kept its numbers.
    "55": OldPlan(
        "Brazil put a 9 before every mobile number, behind the area code, until 2016",
        {"([1-9][1-9])([689][0-9]{7})": r"\g<1>9\2"},
    ),
    # Ministry of Posts and Telecommunications, 21 November 2014:
    # https://bamendaonline.net/cameroon-to-migrate-from-8-to-9-telephone-digits-tonight
    "237": OldPlan(
        "Cameroon put a 6 before every mobile number of eight digits in 2014", {"([79][0-9]{7})": r"6\1"}
    ),
    # Comisión de Regulación de Comunicaciones, Resolution 5826 of 2019, 1 September 2021:
    # https://radionacional.co/actualidad/como-marcar-de-celular-a-fijo-en-colombia
    "57": OldPlan(
        "Colombia put 60 before every landline's area code in 2021", {"([124-8][2-9][0-9]{6})": r"60\1"}
    ),
}


class Renewal(NamedTuple):
    """A number of an old plan."""

    number: Recipient
    change: str


def old_forms(country_code: str) -> str:
    """Return a pattern of the numbers that an old plan of a country explains; blank where there is none."""
    plan = PLANS.get(country_code)
    return "|".join(plan.rules) if plan else ""


def renewed(number: str) -> Renewal | None:
    """Return what a number is today; ``None`` if it is of no old plan, or is another's by now."""
    code = next((code for code in PLANS if number.startswith(f"+{code}")), None)
    if code is None or Recipient.of(number).is_in_use:
        return None
    national = number.removeprefix(f"+{code}")
    for old, new in PLANS[code].rules.items():
        if match := re.fullmatch(old, national):
            today = Recipient(f"+{code}{match.expand(new)}")
            return Renewal(today, PLANS[code].change) if today.is_in_use else None
    return None


def other_writing(number: int) -> int | None:
    """Return what else people write for the same phone, though a plan knows it as a number of its own.

    A mobile of Argentina has a 9 behind the country code when it is called from abroad, and many leave it
    out, so that a do-not-call list must know both:
    http://www.liquisearch.com/telephone_numbers_in_argentina/mobile_phone_numbers
    """
    country, digits = divmod(number, 10**10)
    return {54: 549, 549: 54}[country] * 10**10 + digits if country in {54, 549} else None

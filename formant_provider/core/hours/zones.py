"""Which time zones can a number be in? This module answers; the calling hours go by all that it returns.

The answer is found in this order, and in doubt it is more zones rather than fewer:

1. The countries in which the number may be registered, by its digits (``Recipient.countries``).
2. The zones that IANA's ``zone.tab`` gives these countries. If all of them show the same time, that is all.
3. A correction, where a prefix of the number has one (``zone_corrections``).
4. For a number that tells its place (a landline, or a mobile with an area code): those zones of step 2 that
   the map of the library ``phonenumbers`` names. The map has stand-ins from other countries and old names, so
   zones are compared by the time they show; if one of the map's fits none of the country's, all remain.
5. Otherwise, as for most mobiles, which may be anywhere: all zones of step 2.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from formant_provider.core.hours.zone_corrections import CORRECTIONS
from formant_provider.core.hours.zone_database import clock, one_per_clock, zone_names
from formant_provider.core.numbers.recipient import Recipient

_NORTH_AMERICA = "1"
_EXCHANGE = re.compile(r"\+1[0-9]{10}")
_AREA_CODE = 4  # digits of one in North America, with the country code
# Regions of the library that ISO 3166, and so zone.tab, knows as parts of others. Kosovo has Belgrade's
# clocks.
_PART_OF = {"AC": "SH", "TA": "SH", "XK": "RS"}
_NOT_A_COUNTRY = "001"


def zones_of(number: str) -> tuple[ZoneInfo, ...]:
    """Return the zones in which a number may be, one for each clock that differs from the others.

    :return: none if the number tells no country, as those of satellites do, or is not possible.
    """
    recipient = Recipient.of(number)
    code = recipient.country_code
    if code is None:
        return ()
    if _EXCHANGE.fullmatch(number):
        return _in_exchange(number[:-4])
    return _only_clock(code) or one_per_clock(_candidates(recipient))


def is_country(code: object) -> bool:
    """Whether a number may be of a country, by its ISO 3166 code (of Kosovo, ``XK``)."""
    return isinstance(code, str) and bool(_zones_in(code))


@lru_cache(maxsize=65536)
def _in_exchange(beginning: str) -> tuple[ZoneInfo, ...]:
    """Return the zones of an exchange of North America; the last four digits of a number tell nothing."""
    return one_per_clock(_candidates(Recipient(f"{beginning}0100")))


def _candidates(recipient: Recipient) -> tuple[str, ...]:
    """Return the names of the zones in which a number may be, the likeliest first."""
    names = tuple(name for country in recipient.countries for name in _zones_in(country))
    digits = recipient.removeprefix("+")
    corrected = CORRECTIONS.get(_longest_prefix(digits, CORRECTIONS), ())
    # A prefix may reach into another country, as 618 does to Christmas Island.
    if not set(corrected).isdisjoint(names):
        return corrected
    mapped = _mapped(digits)
    found = _fitting(names, mapped) if recipient.tells_a_place else names
    return tuple(sorted(found, key=lambda name: (name not in mapped, -_uses()[name])))


@cache
def _uses() -> Counter[str]:
    """Return how often the map names each zone: of several with one clock, this tells the best known."""
    return Counter(name for names in _map().values() for name in names)


@lru_cache(maxsize=4096)
def _fitting(names: tuple[str, ...], mapped: tuple[str, ...]) -> tuple[str, ...]:
    """Return a country's zones that show the time of one of the map's; all, if one of the map's fits none.

    Zones are compared by what they show, since the map has old names, and stand-ins from other countries.
    """
    there, wanted = {clock(name) for name in names}, {clock(name) for name in mapped}
    return tuple(name for name in names if clock(name) in wanted) if wanted and wanted <= there else names


def _mapped(digits: str) -> tuple[str, ...]:
    """Return what the map says of a number: of an area of North America, also what it says of its parts.

    There the entry of an area is meant for the exchanges without one of their own. But area 850 is given New
    York's zone, and Pensacola in it is in Chicago's: where an exchange without an entry is, nobody knows.
    """
    found = _longest_prefix(digits, _map())
    if digits.startswith(_NORTH_AMERICA) and len(found) <= _AREA_CODE:
        return _areas().get(digits[:_AREA_CODE]) or _map().get(found, ())
    return _map().get(found, ())


def _map() -> dict[str, tuple[str, ...]]:
    from phonenumbers.tzdata import TIMEZONE_DATA

    return TIMEZONE_DATA


@cache
def _areas() -> dict[str, tuple[str, ...]]:
    """Return the zones of each area of North America, those of all of its parts among them."""
    areas: dict[str, tuple[str, ...]] = {}
    for prefix, names in _map().items():
        if prefix.startswith(_NORTH_AMERICA) and len(prefix) >= _AREA_CODE:
            area = prefix[:_AREA_CODE]
            areas[area] = tuple(dict.fromkeys((*areas.get(area, ()), *names)))
    return areas


def _longest_prefix(digits: str, table: dict[str, tuple[str, ...]]) -> str:
    lengths = range(min(len(digits), 11), 0, -1)
    return next((digits[:length] for length in lengths if digits[:length] in table), "")


@cache
def _only_clock(code: int) -> tuple[ZoneInfo, ...]:
    """Return the zone of a country code whose numbers all have the same clock; otherwise nothing."""
    import phonenumbers

    regions = phonenumbers.region_codes_for_country_code(code)
    names = tuple(name for region in regions if region != _NOT_A_COUNTRY for name in _zones_in(region))
    is_corrected = any(Recipient(prefix).country_code == code for prefix in CORRECTIONS)
    found = one_per_clock(names)
    return found if len(found) == 1 and not is_corrected else ()


def _zones_in(region: str) -> tuple[str, ...]:
    return zone_names(_PART_OF.get(region, region))

"""The time zones in which a number may be.

Three sources answer. The number's region says in which country it is registered. IANA's ``zone.tab`` says
which zones that country has; if all of them show the same time, that is that. Otherwise the map of the
library for phone numbers says where in the country the number is, as far as it can be trusted: it names
stand-ins from other countries, and capitals for mobiles that may be anywhere. In doubt a number may be in all
zones of its country.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from formant_provider.core.hours.zone_corrections import CORRECTIONS
from formant_provider.core.hours.zone_database import zone, zone_names

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

# Countries whose mobile numbers begin with the code of an area; those of +1 look like fixed lines anyway.
_MOBILES_HAVE_AREAS = (52, 55)
_NORTH_AMERICA = "1"
_EXCHANGE = re.compile(r"\+1[0-9]{10}")
_AREA_CODE = 4  # digits of one in North America, with the country code
# Regions of the library that ISO 3166, and so zone.tab, knows as parts of others. Kosovo has Belgrade's
# clocks.
_PART_OF = {"AC": "SH", "TA": "SH", "XK": "RS"}
_NOT_A_COUNTRY = "001"
# Clocks are the same if they agree from here to the beginning of the third year from now. Not from today on:
# a process may run over a change of clocks, and two of them must come to the same.
_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_Clock = tuple[tuple[datetime, timedelta | None], ...]


def zones_of(number: str) -> tuple[ZoneInfo, ...]:
    """Return the zones in which a number may be, one for each clock that differs from the others.

    :param number: E.164.
    :return: none if the number tells no country, as those of satellites do, or is not possible.
    """
    code = _country_code(number)
    if code is None:
        return ()
    if _EXCHANGE.fullmatch(number):
        return _in_exchange(number[:-4])
    return _only_clock(code) or _distinct(_candidates(number))


def regions_of(number: str) -> tuple[str, ...]:
    """Return the countries in which a number may be registered, as ISO 3166 codes.

    :param number: E.164.
    :return: none if the number tells no country, as those of satellites do, or is not possible.
    """
    parsed = _parse(number)
    return _regions(parsed) if parsed else ()


def is_country(code: object) -> bool:
    """Whether a number may be of a country, by its ISO 3166 code (of Kosovo, ``XK``)."""
    return isinstance(code, str) and bool(_zones_in(code))


@lru_cache(maxsize=65536)
def _in_exchange(beginning: str) -> tuple[ZoneInfo, ...]:
    """Return the zones of an exchange of North America; the last four digits of a number tell nothing."""
    return _distinct(_candidates(f"{beginning}0100"))


def _candidates(number: str) -> tuple[str, ...]:
    from phonenumbers import national_significant_number

    parsed = _parse(number)
    if parsed is None:
        return ()
    names = tuple(name for region in _regions(parsed) for name in _zones_in(region))
    digits = f"{parsed.country_code}{national_significant_number(parsed)}"
    corrected = CORRECTIONS.get(_longest_prefix(digits, CORRECTIONS), ())
    # A prefix may reach into another country, as 618 does to Christmas Island.
    if not set(corrected).isdisjoint(names):
        return corrected
    mapped = _mapped(digits)
    found = _fitting(names, mapped) if _tells_a_place(parsed) else names
    return tuple(sorted(found, key=lambda name: (name not in mapped, -_uses()[name])))


@cache
def _uses() -> Counter[str]:
    """Return how often the map names each zone: of several with one clock, this tells the best known."""
    return Counter(name for names in _map().values() for name in names)


def _tells_a_place(number: PhoneNumber) -> bool:
    """Whether the digits of a number say where in its country it is."""
    from phonenumbers import PhoneNumberType, number_type

    kind = number_type(number)
    if kind == PhoneNumberType.MOBILE:
        return number.country_code in _MOBILES_HAVE_AREAS
    return kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


def _regions(number: PhoneNumber) -> tuple[str, ...]:
    """Return every region in which a number is valid; if it is possible and no more, all of its code."""
    import phonenumbers

    all_of_code = phonenumbers.region_codes_for_country_code(number.country_code or 0)
    first = phonenumbers.region_code_for_number(number)
    if _NOT_A_COUNTRY in all_of_code:
        return ()
    if first is None:
        reason = phonenumbers.is_possible_number_with_reason(number)  # some are so in their own town alone
        return all_of_code if reason == phonenumbers.ValidationResult.IS_POSSIBLE else ()
    if len(all_of_code) == 1 or _tells_a_place(number):
        return (first,)
    valid = tuple(it for it in all_of_code if phonenumbers.is_valid_number_for_region(number, it))
    return valid or (first,)  # too new for the library, but its first digits are of one region alone


@lru_cache(maxsize=4096)
def _fitting(names: tuple[str, ...], mapped: tuple[str, ...]) -> tuple[str, ...]:
    """Return a country's zones that show the time of one of the map's; all, if one of the map's fits none.

    Zones are compared by what they show, since the map has old names, and stand-ins from other countries.
    """
    there, wanted = {_clock(name) for name in names}, {_clock(name) for name in mapped}
    return tuple(name for name in names if _clock(name) in wanted) if wanted and wanted <= there else names


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
    is_corrected = any(_country_code(prefix) == code for prefix in CORRECTIONS)
    found = _distinct(names)
    return found if len(found) == 1 and not is_corrected else ()


def _country_code(number: str) -> int | None:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    digits = number.strip().lstrip("+")
    codes = (int(digits[:length]) for length in (1, 2, 3) if digits[:length].isdecimal())
    return next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), None)


def _parse(number: str) -> PhoneNumber | None:
    import phonenumbers

    with suppress(phonenumbers.NumberParseException):
        return phonenumbers.parse(number)
    return None


def _zones_in(region: str) -> tuple[str, ...]:
    return zone_names(_PART_OF.get(region, region))


@lru_cache(maxsize=4096)
def _distinct(names: tuple[str, ...]) -> tuple[ZoneInfo, ...]:
    """Return one zone for each clock, by the first of its names."""
    first = {_clock(name): name for name in reversed(names)}
    return tuple(found for name in dict.fromkeys(names) if name in first.values() and (found := zone(name)))


@cache
def _clock(name: str) -> _Clock:
    """Return what the clocks of a zone show: their difference from UTC, and when it changes."""
    found = zone(name)
    return tuple(_changes(found)) if found else ()


def _changes(where: ZoneInfo) -> Iterator[tuple[datetime, timedelta | None]]:
    until = _SINCE.replace(year=max(_SINCE.year, datetime.now(UTC).year) + 3)
    day, before = _SINCE, None
    while day < until:
        offset = day.astimezone(where).utcoffset()
        if offset != before:
            yield (_change(where, day - _DAY, day) if before is not None else day), offset
        day, before = day + _DAY, offset


def _change(where: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return when within a day a clock is changed, to the minute."""
    wanted = after.astimezone(where).utcoffset()
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) / 2
        if middle.astimezone(where).utcoffset() == wanted:
            after = middle
        else:
            before = middle
    return after

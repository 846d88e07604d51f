"""In which zones a number may be: every region and type, held against IANA and the names of places."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from phonenumbers.geodata import GEOCODE_DATA

from formant_provider.calling_window import CallingWindow
from formant_provider.core.hours.opening_hours import Hours
from formant_provider.core.hours.zone_corrections import CORRECTIONS
from formant_provider.core.hours.zone_database import database, zone, zone_names
from formant_provider.core.hours.zones import is_country, zones_of
from formant_provider.core.numbers.recipient import Recipient

CODES = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
LATEST = "2026f"
needs_latest = pytest.mark.skipif(
    database().version < LATEST, reason=f"the time zone database is {database().version}, not {LATEST}"
)
HOURS = CallingWindow()
HALF_HOUR = timedelta(minutes=30)
PART_OF = {"AC": "SH", "TA": "SH", "XK": "RS"}
# Days with and without summer time on both halves of the earth, on which clocks are changed, and after the
# changes of 2026.
DAYS = [
    "2026-01-14",
    "2026-03-08",
    "2026-03-29",
    "2026-04-05",
    "2026-07-15",
    "2026-10-25",
    "2026-11-01",
    "2027-01-13",
]
MOMENTS = [datetime.fromisoformat(day).replace(tzinfo=UTC) + n * HALF_HOUR for day in DAYS for n in range(48)]


def keys(number: str) -> set[str]:
    return {found.key for found in zones_of(number)}


def countries(number: str) -> tuple[str, ...]:
    return Recipient(number).countries


@cache
def clock(name: str) -> tuple[timedelta | None, ...]:
    found = zone(name)
    assert found, name
    return tuple(moment.astimezone(found).utcoffset() for moment in MOMENTS)


def examples() -> Iterator[tuple[str, int, str]]:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in phonenumbers.PhoneNumberType.values():
            found = phonenumbers.example_number_for_type(region, kind)
            if found:
                number = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
                yield region, phonenumbers.number_type(found), number


@cache
def open_hours(zones: tuple[ZoneInfo, ...]) -> frozenset[datetime]:
    """The moments at which it is from nine to eight on all the clocks."""
    readings = ((at, [at.astimezone(where) for where in zones]) for at in MOMENTS)
    return frozenset(at for at, clocks in readings if all(9 <= it.hour < 20 for it in clocks))


def opens(number: str) -> frozenset[datetime]:
    return asked(HOURS.hours(number))


@cache
def asked(hours: Hours) -> frozenset[datetime]:
    return frozenset(at for at in MOMENTS if hours.opening(at, at))


GEOGRAPHIC = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)


def test_no_number_s_hours_reach_outside_its_country_s() -> None:
    """Nor are they empty unless the country's are, for every region and type that has an example.

    By all clocks of the country if the number tells nothing of the place, otherwise by one of them at least.
    """
    seen = 0
    for region, kind, number in examples():
        country = tuple(filter(None, map(zone, zone_names(PART_OF.get(region, region)))))
        found, case = opens(number), (region, kind)
        assert country, case
        assert found <= set().union(*(open_hours((where,)) for where in country)), case
        if kind not in GEOGRAPHIC and number[1:3] not in ("52", "55"):
            assert found <= open_hours(country), case
        assert found or not open_hours(country), case
        seen += 1
    assert seen > 1200


def test_a_country_with_one_clock_has_that_clock() -> None:
    """Whatever the type of number, and whatever the map of the library says."""
    for region, kind, number in examples():
        clocks = {clock(name) for name in zone_names(PART_OF.get(region, region))}
        country_code = phonenumbers.parse(number).country_code
        if len(clocks) == 1 and len(countries(number)) == 1 and country_code not in (90, 672):
            assert {clock(key) for key in keys(number)} == clocks, (region, kind)


@pytest.mark.parametrize("code", [800, 808, 870, 878, 881, 882, 883, 888, 979])
def test_numbers_of_no_country_have_no_zone(code: int) -> None:
    """Satellites, and other services of the whole world."""
    found = phonenumbers.example_number_for_non_geo_entity(code)
    number = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
    assert (zones_of(number), countries(number)) == ((), ())


KNOWN = {
    "Algiers": ("+21321401234", {"Africa/Algiers"}),
    "an Algerian mobile": ("+213551234567", {"Africa/Algiers"}),
    "Tripoli": ("+218212345678", {"Africa/Tripoli"}),
    "Managua": ("+50521234567", {"America/Managua"}),
    "Casablanca": ("+212520123456", {"Africa/Casablanca"}),
    "Juba": ("+211977123456", {"Africa/Juba"}),
    "Kaliningrad": ("+74012123456", {"Europe/Kaliningrad"}),
    "Saratov": ("+78452123456", {"Europe/Saratov"}),
    "Chihuahua": ("+526141234567", {"America/Chihuahua"}),
    "Ciudad Juarez": ("+526561234567", {"America/Ciudad_Juarez"}),
    "Reynosa": ("+528991234567", {"America/Matamoros"}),
    "Tijuana, its newer code": ("+526631234567", {"America/Tijuana"}),
    "Jayapura": ("+62967512345", {"Asia/Jayapura"}),
    "a Jamaican mobile": ("+18762101234", {"America/Jamaica"}),
    "a mobile of Trinidad": ("+18682911234", {"America/Port_of_Spain"}),
    "a Kazakh mobile": ("+77012345678", {"Asia/Almaty"}),
    "Punta Arenas": ("+56612123456", {"America/Punta_Arenas"}),
    "Cuiabá": ("+556531234567", {"America/Campo_Grande"}),
    "Belém": ("+5591991234567", {"America/Belem"}),
    "Recife": ("+558121234567", {"America/Recife", "America/Noronha"}),
    "Lubumbashi": ("+2432234567", {"Africa/Lubumbashi"}),
    "Northern Cyprus": ("+903922231234", {"Asia/Famagusta", "Europe/Istanbul"}),
    "Pristina": ("+38328012345", {"Europe/Belgrade"}),
    "Orlando, its newer code": ("+16892340100", {"America/New_York"}),
    "Pensacola": ("+18504320100", {"America/Chicago"}),
    "an exchange of Florida that nobody placed": ("+18505550100", {"America/New_York", "America/Chicago"}),
    "Regina, its newer code": ("+14742340100", {"America/Regina"}),
    "Brisbane": ("+61731234567", {"Australia/Brisbane"}),
    "Cairns": ("+61740412345", {"Australia/Brisbane", "Australia/Sydney"}),
    "Tenerife": ("+34922123456", {"Atlantic/Canary"}),
    "Ashburton, Akaroa or the Chatham Islands": (
        "+6433071234",
        {"Pacific/Auckland", "Pacific/Chatham"},
    ),
    "Port St. Joe": ("+18502270100", {"America/New_York"}),
    "Port St. Joe, its other exchange": ("+18502290100", {"America/New_York"}),
    "Tallahassee": ("+18504310100", {"America/New_York", "America/Chicago"}),
    "Tallahassee, another exchange": ("+18506810100", {"America/New_York", "America/Chicago"}),
    "Vevay": ("+18124270100", {"America/New_York"}),
    "Terre Haute": ("+18124780100", {"America/New_York", "America/Chicago"}),
    "Unalaska": ("+19075810100", {"America/Anchorage"}),
    "Fort Pierre": ("+16052230100", {"America/Chicago", "America/Denver"}),
    "Fort Yates": ("+17018540100", {"America/Chicago", "America/Denver"}),
    "eastern Quebec": ("+14182340100", {"America/Toronto", "America/Halifax"}),
    "eastern Quebec, a newer code": ("+15812340100", {"America/Toronto", "America/Halifax"}),
    "eastern Quebec, its newest code": ("+13672340100", {"America/Toronto", "America/Halifax"}),
    "Wake Island": ("+18084240100", {"Pacific/Honolulu", "Pacific/Wake"}),
    "Davis, Antarctica": ("+672101234", {"Antarctica/Davis", "Pacific/Norfolk"}),
    "Mawson, Antarctica": ("+672112345", {"Antarctica/Mawson", "Pacific/Norfolk"}),
    "Casey, Antarctica": ("+672121234", {"Antarctica/Casey", "Pacific/Norfolk"}),
    "Macquarie Island": ("+672131234", {"Antarctica/Macquarie", "Pacific/Norfolk"}),
    "Norfolk Island": ("+672322345", {"Pacific/Norfolk"}),
    "Cáceres": ("+34827123456", {"Europe/Madrid"}),
}


@pytest.mark.parametrize(("number", "expected"), KNOWN.values(), ids=KNOWN)
def test_a_number_is_where_it_is(number: str, expected: set[str]) -> None:
    """By the clocks of these zones, whatever name of a zone with the same clock is given."""
    assert {clock(key) for key in keys(number)} == {clock(name) for name in expected}


ALL_OF = {
    "an Indonesian mobile": ("+62812345678", "ID"),
    "a Chilean mobile": ("+56961234567", "CL"),
    "a mobile of Papua New Guinea": ("+67570123456", "PG"),
    "a Micronesian mobile": ("+6919201234", "FM"),
    "a Russian mobile": ("+79123456789", "RU"),
    "an Ecuadorian mobile": ("+593991234567", "EC"),
    "a Mongolian mobile": ("+97688123456", "MN"),
    "a Spanish mobile": ("+34612345678", "ES"),
    "a Spanish premium number": ("+34803123456", "ES"),
    "a Congolese mobile": ("+243991234567", "CD"),
}


@pytest.mark.parametrize(("number", "country"), ALL_OF.values(), ids=ALL_OF)
def test_a_number_that_tells_nothing_of_its_place_may_be_anywhere_in_its_country(
    number: str, country: str
) -> None:
    """Not only in the capital, and not in other countries."""
    assert {clock(key) for key in keys(number)} == {clock(name) for name in zone_names(country)}


def test_a_number_that_may_be_of_several_countries_is_in_the_zones_of_all() -> None:
    """Toll-free numbers of North America are of all its countries, Australian mobiles also of two islands."""
    assert {"AU", "CC", "CX"} == set(countries("+61412345678"))
    assert {"US", "CA", "JM", "GU"} <= set(countries("+18005551212"))
    assert {clock("America/St_Johns"), clock("Pacific/Guam")} <= set(map(clock, keys("+18005551212")))


def test_a_number_that_is_possible_and_no_more_may_be_in_any_country_of_its_code() -> None:
    """Its plan may have grown since the library was made; one of an impossible length is nowhere."""
    assert not phonenumbers.is_valid_number(phonenumbers.parse("+70001234567"))
    assert set(countries("+70001234567")) == {"RU", "KZ"}
    assert {clock("Asia/Almaty"), clock("Asia/Kamchatka")} <= set(map(clock, keys("+70001234567")))
    assert zones_of("+7000") == zones_of("+") == zones_of("nobody") == countries("nobody") == ()


@pytest.mark.parametrize(
    ("number", "region"),
    [("+77271234567", "KZ"), ("+12420001234", "BS"), ("+18762001234", "JM"), ("+12684041234", "AG")],
)
def test_a_number_that_is_new_to_the_library_is_of_the_country_of_its_first_digits(
    number: str, region: str
) -> None:
    """Where countries share a code, and none of them has the number in its plan yet."""
    assert not phonenumbers.is_valid_number(phonenumbers.parse(number))
    assert countries(number) == (region,)
    assert {clock(key) for key in keys(number)} == {clock(name) for name in zone_names(region)}


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("+61255501234", "Australia/Sydney"),
        ("+551131234567", "America/Sao_Paulo"),
        ("+78462123456", "Europe/Samara"),
        ("+556832123456", "America/Rio_Branco"),
        ("+559232123456", "America/Manaus"),
    ],
)
def test_a_zone_has_the_name_that_is_known_best(number: str, name: str) -> None:
    """The map's own for the number, not the first of its clock in zone.tab."""
    assert keys(number) == {name}


CHANGED_IN_2026 = [
    ("+16042340100", -7),  # Vancouver
    ("+12502340100", -7),  # Victoria, and the east of the province an hour ahead
    ("+14032340100", -6),  # Calgary
    ("+18676690100", -6),  # Yellowknife
    ("+12042340100", -5),  # Winnipeg
    ("+18072740100", -5),  # Fort Frances, Ontario, which went along with Manitoba
    ("+5372341234", -4),  # Havana
    ("+212520123456", 0),  # Casablanca
]


@needs_latest
@pytest.mark.parametrize(("number", "offset"), CHANGED_IN_2026)
def test_clocks_that_changed_in_2026_are_known(number: str, offset: int) -> None:
    """On 1 December 2026, by IANA 2026b to 2026f."""
    winter = datetime(2026, 12, 1, 12, tzinfo=UTC)
    assert timedelta(hours=offset) in {winter.astimezone(where).utcoffset() for where in zones_of(number)}


# States and provinces with one clock, whatever IANA calls it.
PLACES = {
    "1": {
        "America/New_York": "CT DE DC GA ME MD MA NH NJ NY NC OH PA RI SC VT VA WV",
        "America/Chicago": "AL AR IL IA LA MN MS MO OK WI",
        "America/Denver": "CO MT NM UT WY",
        "America/Phoenix": "AZ",
        "America/Los_Angeles": "CA NV WA",
        "Pacific/Honolulu": "HI",
        "America/Halifax": "NB NS PE",
        "America/St_Johns": "NL",
        "America/Winnipeg": "MB",
        "America/Regina": "SK",
        "America/Edmonton": "AB NT",
        "America/Whitehorse": "YT",
    },
    "52": {
        "America/Hermosillo": "SON",
        "America/Tijuana": "BCN",
        "America/Mazatlan": "BCS",
        "America/Cancun": "ROO",
    },
    "55": {
        "America/Sao_Paulo": "SP RJ ES MG PR SC RS DF GO TO BA SE AL PB RN CE PI MA PA AP PE",
        "America/Cuiaba": "MT MS",
        "America/Porto_Velho": "RO",
        "America/Boa_Vista": "RR",
        "America/Manaus": "AM",
        "America/Rio_Branco": "AC",
    },
}
FULL_NAMES = {
    "1": {
        "Saskatchewan": "SK",
        "Newfoundland and Labrador": "NL",
        "Alberta": "AB",
        "Manitoba": "MB",
        "Arizona": "AZ",
    },
    "52": {"Quintana Roo": "ROO", "Sonora": "SON", "Baja California": "BCN", "Baja California Sur": "BCS"},
    "55": {"Pará": "PA", "Mato Grosso": "MT", "Mato Grosso do Sul": "MS", "Rondônia": "RO", "Roraima": "RR"},
}


@pytest.mark.parametrize("code", PLACES)
def test_the_library_s_names_of_places_are_in_the_zones_of_their_states(code: str) -> None:
    """Every prefix that the library has a place for, of a state or province with one clock."""
    expected = {state: name for name, states in PLACES[code].items() for state in states.split()}
    seen = 0
    for prefix, names in GEOCODE_DATA.items():
        place = names.get("en") or next(iter(names.values()))
        state = FULL_NAMES[code].get(place) or place.replace(" - ", ", ").rpartition(", ")[2]
        if prefix.startswith(code) and state in expected and "/" not in place[-5:]:
            number = "+" + (prefix + "2345678")[: 11 if code == "1" else 12]
            found = {clock(key) for key in keys(number)}
            assert clock(expected[state]) in found, (prefix, place, keys(number))
            seen += 1
    assert seen > {"1": 10_000, "52": 10, "55": 900}[code]


def test_exchanges_of_one_town_have_the_same_clocks() -> None:
    """Of North America, within an area code: one that differs is a fault of the map."""
    towns: dict[tuple[str, str], set[frozenset[tuple[timedelta | None, ...]]]] = {}
    for prefix, names in GEOCODE_DATA.items():
        place = names.get("en", "")
        if prefix.startswith("1") and len(prefix) == 7 and ", " in place:
            found = frozenset(map(clock, keys(f"+{prefix}0100")))
            towns.setdefault((prefix[:4], place), set()).add(found)
    assert len(towns) > 5_000
    assert [town for town, clocks in towns.items() if len(clocks) > 1] == []


def test_what_is_known_of_an_exchange_is_so_of_each_of_its_numbers() -> None:
    """The last four digits of a number of North America change nothing: so of exchanges at random."""
    random = Random(7)  # noqa: S311 - it protects nothing
    for _ in range(2000):
        exchange = f"+1{random.choice('23456789')}{random.randrange(10**5):05}"
        one, other = (f"{exchange}{random.randrange(10**4):04}" for _ in range(2))
        assert zones_of(one) == zones_of(other)
        if countries(one) != countries(other):  # toll-free and personal numbers are of the whole plan
            assert min(len(countries(one)), len(countries(other))) > 1, exchange


def test_every_zone_that_is_named_is_there() -> None:
    """Those of the corrections and of the library's map, old names among them."""
    from phonenumbers.tzdata import TIMEZONE_DATA

    corrected = {name for names in CORRECTIONS.values() for name in names}
    mapped = {name for names in TIMEZONE_DATA.values() for name in names} - {"Etc/Unknown"}
    assert len(mapped) > 200
    assert [name for name in corrected | mapped if not zone(name)] == []


def test_every_correction_counts() -> None:
    """Its zones are of a country whose numbers begin so; otherwise it would not be looked at."""
    for prefix, names in CORRECTIONS.items():
        codes = [code for length in (1, 2, 3) if (code := int(prefix[:length])) in CODES]
        known = {name for code in codes for region in CODES[code] for name in zone_names(region)}
        assert set(names) & known, prefix


@pytest.mark.parametrize(
    ("code", "expected"), [("GB", True), ("XK", True), ("UK", False), ("", False), (1, False)]
)
def test_a_country_is_one_of_iso_3166(code: object, expected: bool) -> None:
    """Kosovo's code is not, and is in use."""
    assert is_country(code) is expected

"""Time zones of a calling window that are given by country, or by the value of a template."""

from __future__ import annotations

from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.calling_window import CallingWindow

INDIA = "+919876543210"
LOS_ANGELES = "+14152340100"
LONDON = "+442079460123"
TOLL_FREE = "+18005551212"
NOWHERE = "+883510001234567"
BY_COUNTRY = {"US": "America/New_York", "IN": "Asia/Kolkata", "GB": "recipient"}


def keys(window: CallingWindow, number: str) -> list[str]:
    return [zone.key for zone in window.hours(number).zones]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (LOS_ANGELES, "America/New_York"),
        (INDIA, "Asia/Kolkata"),
        (LONDON, "Europe/London"),
        ("+493023125000", "Europe/Berlin"),
    ],
)
def test_a_mapping_gives_a_zone_for_each_country(number: str, expected: str) -> None:
    """A country that it does not name, or names as recipient, keeps the zones of its numbers."""
    assert keys(CallingWindow(timezone=BY_COUNTRY), number) == [expected]


def test_a_number_of_several_countries_keeps_the_hours_of_all() -> None:
    """Toll-free: New York for the United States, and for the rest wherever such a number may be."""
    found = keys(CallingWindow(timezone=BY_COUNTRY), TOLL_FREE)
    assert found[0] == "America/New_York"
    assert {"America/St_Johns", "Pacific/Guam"} <= set(found)


def test_a_number_of_no_country_is_in_no_mapping() -> None:
    """It is refused, as without one."""
    with pytest.raises(InvalidInput, match="the time zone of this number is not known"):
        CallingWindow(timezone=BY_COUNTRY).hours(NOWHERE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Pune", "Asia/Kolkata"), ("Berlin", "Europe/Berlin"), ("", "Europe/London"), (7, "UTC")],
)
def test_a_mapping_may_be_looked_up_by_the_value_of_a_template(value: Any, expected: str) -> None:
    """What it does not name is the recipient's; keys may be numbers."""
    zones = {"Pune": "Asia/Kolkata", "Berlin": "Europe/Berlin", 7: "UTC"}
    window = CallingWindow(timezone=zones, timezone_by="{{ params.branch }}")  # type: ignore[arg-type]
    window.timezone_by = value  # as Airflow renders it
    assert keys(window, LONDON) == [expected]


def test_a_zone_that_is_a_template_is_checked_when_it_is_rendered() -> None:
    """Not before; then as if it had been written so."""
    window = CallingWindow(timezone={"IN": "{{ params.zone }}", "GB": "Europe/London"})
    window.timezone = {"IN": "America/Gotham", "GB": "Europe/London"}
    for number in (INDIA, LONDON):  # one that needs that zone, and one that does not
        with pytest.raises(InvalidInput, match=r"calling_window\.timezone"):
            window.hours(number)


def test_what_is_shown_of_a_mapping_is_always_the_same() -> None:
    """Sorted by its keys; what the keys are is shown where they are no countries."""
    window = CallingWindow(timezone=dict(reversed(BY_COUNTRY.items())))
    assert list(window.serialize()["timezone"]) == sorted(BY_COUNTRY)
    assert "timezone_by" not in window.serialize()
    by_branch = CallingWindow(timezone={"Pune": "Asia/Kolkata"}, timezone_by="{{ params.branch }}")
    assert by_branch.serialize()["timezone_by"] == "{{ params.branch }}"

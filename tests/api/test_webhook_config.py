from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.config import read_config
from formant_provider.api.errors import InvalidInput
from formant_provider.api.webhook_config import WEBHOOK_KEYS, WebhookConfig, read_webhook_config

SECRET, OLDER = "whsec_rosetta_stone_1799", "whsec_older_secret_42xx"
GIVEN = {
    "store_conn_id": "call_store",
    "store_secret": "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
    "webhook_secret": SECRET,
}
REST: dict[str, Any] = {"host": None, "port": None, "password": "key-1234567"}


def read(**extra: Any) -> WebhookConfig:
    config = read_webhook_config({**GIVEN, **extra})
    assert config is not None
    return config


def test_without_a_secret_no_webhook_is_accepted() -> None:
    """A connection without the field, or whose form was saved with empty fields, has none."""
    assert read_webhook_config({}) is None
    assert read_webhook_config({**GIVEN, **dict.fromkeys(WEBHOOK_KEYS, " ")}) is None
    assert read_config(**REST, extra={"region": "in"}).webhooks is None


def test_what_is_not_given_has_its_default() -> None:
    """An hour, as the vendor advises, and thirty days."""
    empty = {"webhook_tolerance": None, "webhook_keep_for": ""}
    assert read() == read(**empty) == WebhookConfig((SECRET,), timedelta(hours=1), timedelta(days=30))


def test_webhooks_are_part_of_the_client_s_config() -> None:
    """They are read with the rest, and their keys are known ones; without the store, they are not read."""
    assert read_config(**REST, extra=GIVEN).webhooks == WebhookConfig((SECRET,))
    broken = {**GIVEN, "webhook_secret": "short"}
    assert read_config(**REST, extra=broken, with_store=False).webhooks is None


def test_two_secrets_may_be_given_while_one_is_exchanged() -> None:
    """The new one first, as with the secret of the store."""
    assert read(webhook_secret=f"{SECRET} , {OLDER}").secrets == (SECRET, OLDER)


def test_the_secrets_are_not_part_of_the_repr() -> None:
    """A config that ends up in a log shows none of them."""
    assert SECRET not in repr(read()) + repr(read_config(**REST, extra=GIVEN))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(60, 60), ("60", 60), ("1.5", 1.5), (43200, 43200)],
)
def test_the_tolerance_is_in_seconds(given: object, seconds: float) -> None:
    """JSON gives numbers, a URI gives text."""
    assert read(webhook_tolerance=given).tolerance == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("given", "days"), [("7d", 7), ("48h", 2), ("2880 m", 2), ("86400s", 1), ("366d", 366)]
)
def test_how_long_events_are_kept_is_a_time(given: str, days: int) -> None:
    """Written as the time of a call cap is."""
    assert read(webhook_keep_for=given).keep_for == timedelta(days=days)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            ("webhook_secret", value)
            for value in ("short", SECRET[:15], f"{SECRET},", f",{SECRET}", f"{SECRET},{SECRET[:8]}", ",")
        ],
        ("webhook_secret", f"{SECRET},{OLDER},{SECRET}"),
        *[("webhook_tolerance", value) for value in (0, -1, 43201, "an hour", "nan", "inf", "1h")],
        *[
            ("webhook_keep_for", value)
            for value in (
                30,
                "30",
                "d",
                "0d",
                "23h",
                "367d",
                "1w",
                "-1d",
                "1.5d",
                f"{'9' * 9}d",
                "\u0663\u0660d",
            )
        ],
    ],
)
def test_a_wrong_field_is_refused_by_its_name(field: str, value: object) -> None:
    """The error names the field, and not the value."""
    with pytest.raises(InvalidInput) as caught:
        read(**{field: value})
    assert caught.value.field == field
    assert caught.value.__context__ is None
    assert not isinstance(value, str) or len(value) < 5 or value not in str(caught.value)


@pytest.mark.parametrize("field", WEBHOOK_KEYS)
@pytest.mark.parametrize("value", [[SECRET, OLDER], {"new": SECRET}, True])
def test_what_is_neither_text_nor_a_number_is_refused(field: str, value: object) -> None:
    """A list of secrets, written as text, would be one secret that nobody has."""
    with pytest.raises(InvalidInput) as caught:
        read(**{field: value})
    assert (caught.value.field, caught.value.reason) == (field, "must be text or a number")


def test_the_secret_of_the_store_is_no_webhook_secret() -> None:
    """The vendor is given the one, and must not have the other; also not among several."""
    with pytest.raises(InvalidInput, match="must differ from the store_secret"):
        read(webhook_secret=f"{SECRET},{GIVEN['store_secret']}")


def test_a_secret_without_a_store_is_refused() -> None:
    """What comes has to be kept before it is answered."""
    with pytest.raises(InvalidInput) as caught:
        read_config(**REST, extra={"webhook_secret": SECRET})
    assert caught.value.field == "webhook_secret"
    assert "store_conn_id" in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("webhook_tolerance", 60), ("webhook_keep_for", "7d")])
def test_an_option_without_a_secret_is_refused(field: str, value: object) -> None:
    """Whoever says for how long events are kept expects that there are some."""
    with pytest.raises(InvalidInput) as caught:
        read_webhook_config({**GIVEN, "webhook_secret": "", field: value})
    assert str(caught.value) == f"{field}: needs a webhook_secret, without which no webhook is accepted"


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("webhook_secert", "webhook_secret"), ("webhooks_keep_for", "webhook_keep_for")],
)
def test_a_misspelt_key_is_refused(misspelt: str, meant: str) -> None:
    """Otherwise private bodies would be kept for longer than somebody wrote."""
    with pytest.raises(InvalidInput, match=f"did you mean '{meant}'"):
        read_config(**REST, extra={misspelt: "7d"})


def test_an_event_is_kept_for_longer_than_it_is_accepted() -> None:
    """Or one that is sent again after it was deleted would be stored as a new one."""
    longest, shortest = read(webhook_tolerance=43200), read(webhook_keep_for="1d")
    assert 2 * longest.tolerance <= shortest.keep_for

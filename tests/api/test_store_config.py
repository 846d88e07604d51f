from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.config import read_config
from formant_provider.api.errors import InvalidInput
from formant_provider.api.store_config import STORE_KEYS, StoreConfig, read_store_config

SECRET = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
OLDER = "xNtp0vhVMyWmnNuUkRZQ1ipqE3w1cKPZ2dBCRIG5vUw="
STORE = {"store_conn_id": "call_store", "store_secret": SECRET}


def read(**extra: Any) -> StoreConfig:
    config = read_store_config({**STORE, **extra})
    assert config is not None
    return config


def test_without_a_store_there_is_none() -> None:
    """A connection that names no store has none; neither has one whose form was saved with empty fields."""
    assert read_store_config({}) is None
    assert read_store_config({"region": "in"}) is None
    saved = {**dict.fromkeys(STORE_KEYS, ""), "store_auto_upgrade": False, "calls_per_minute": None}
    assert read_store_config(saved) is None


def test_a_store_has_no_limits_unless_they_are_given() -> None:
    """What is empty, as the form saves it, means no limit; tables are made by a person."""
    empty = {"store_auto_upgrade": None, "call_cap": "", "calls_per_minute": None, "max_concurrent_calls": ""}
    assert read() == read(**empty) == StoreConfig("call_store", SECRET)


def test_the_store_is_part_of_the_client_s_config() -> None:
    """What the connection says of the store is read with the rest, and its keys are known ones."""
    config = read_config(host=None, port=None, password="key-1234567", extra={**STORE, "call_cap": "2/1d"})
    assert config.store == StoreConfig("call_store", SECRET, call_cap=(2, timedelta(days=1)))
    assert read_config(host=None, port=None, password="key-1234567", extra={}).store is None


def test_the_secret_is_not_part_of_the_repr() -> None:
    """A config that ends up in a log shows no secret."""
    assert SECRET not in repr(read())


@pytest.mark.parametrize("given", [True, "true", "True", "1", 1])
def test_a_boolean_may_be_text(given: object) -> None:
    """The form and JSON give booleans, a URI gives text."""
    assert read(store_auto_upgrade=given).auto_upgrade is True
    assert read(store_auto_upgrade={True: False}.get(given, "false")).auto_upgrade is False


@pytest.mark.parametrize(
    ("text", "cap"),
    [
        ("2/1d", (2, timedelta(days=1))),
        (" 10 / 90 m ", (10, timedelta(minutes=90))),
        ("1/30s", (1, timedelta(seconds=30))),
        ("3/366d", (3, timedelta(days=366))),
    ],
)
def test_a_cap_is_a_number_of_calls_and_a_time(text: str, cap: tuple[int, timedelta]) -> None:
    """So many calls a person, within so many seconds, minutes, hours or days."""
    assert read(call_cap=text).call_cap == cap


def test_limits_may_be_numbers_or_text() -> None:
    """JSON gives numbers, a URI gives text; less than one call a minute is a limit as well."""
    assert read(calls_per_minute=30, max_concurrent_calls=5).max_concurrent_calls == 5
    config = read(calls_per_minute="0.5", max_concurrent_calls="5")
    assert (config.calls_per_minute, config.max_concurrent_calls) == (0.5, 5)


def test_several_secrets_may_be_given_while_one_is_changed() -> None:
    """The newest comes first, as in Airflow's own fernet_key."""
    assert read(store_secret=f"{SECRET}, {OLDER}").secret == f"{SECRET},{OLDER}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("store_secret", value) for value in ("", None, "no-key", SECRET[:-4], f"{SECRET},", "ü" * 44)],
        *[("store_auto_upgrade", value) for value in ("maybe", 2, "on")],
        *[
            ("call_cap", value)
            for value in (2, "2", "2/d", "0/1d", "2/0d", "-2/1d", "2/1w", "2/1d2", "1.5/1d", "2/367d", "٢/1d")
        ],
        ("call_cap", f"2/{'9' * 9}d"),
        *[("calls_per_minute", value) for value in (0, -1, "many", "nan", "inf", True)],
        *[("max_concurrent_calls", value) for value in (0, -1, 1.5, "1.5", "many", True)],
    ],
)
def test_a_wrong_field_is_refused_by_its_name(field: str, value: object) -> None:
    """The error names the field, and not the value."""
    with pytest.raises(InvalidInput) as caught:
        read(**{field: value})
    assert caught.value.field == field
    assert caught.value.__context__ is None
    assert not isinstance(value, str) or len(value) < 5 or value not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("store_secret", SECRET),
        ("store_auto_upgrade", True),
        ("call_cap", "2/1d"),
        ("calls_per_minute", 30),
        ("max_concurrent_calls", "5"),
    ],
)
def test_an_option_of_the_store_without_a_store_is_refused(field: str, value: object) -> None:
    """A cap that nothing counts would be no cap: it is refused by its name."""
    with pytest.raises(InvalidInput) as caught:
        read_store_config({"store_conn_id": " ", field: value})
    assert str(caught.value) == f"{field}: needs a call store; name its connection in store_conn_id"


@pytest.mark.parametrize(
    ("misspelt", "meant"), [("store_con_id", "store_conn_id"), ("calls_cap", "call_cap"), ("regio", "region")]
)
def test_a_misspelt_key_of_the_store_is_refused(misspelt: str, meant: str) -> None:
    """A key that is not read would mean no store, or no limit."""
    with pytest.raises(InvalidInput) as caught:
        read_config(host=None, port=None, password="key-1234567", extra={misspelt: "x"})
    assert str(caught.value) == f"extra: has the unknown key {misspelt!r}; did you mean {meant!r}?"

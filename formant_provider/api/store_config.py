"""Which database holds the call store, and the limits it keeps: read from the extra of a connection."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from formant_provider.api.errors import InvalidInput

STORE_CONN_ID = "store_conn_id"
STORE_KEYS = (
    STORE_CONN_ID,
    "store_secret",
    "store_auto_upgrade",
    "call_cap",
    "calls_per_minute",
    "max_concurrent_calls",
)
LONGEST_CAP = timedelta(days=366)
UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_CAP = re.compile(r"([0-9]{1,6})\s*/\s*([0-9]{1,9})\s*([smhd])")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class StoreConfig:
    """Where the call store of a connection is, and what it has to keep.

    :param conn_id: the Airflow connection to the database.
    :param secret: one or more, comma separated, the newest first; never part of a ``repr``.
    :param auto_upgrade: whether the tables are made or migrated at first use.
    :param call_cap: how many calls a person may get within which time; ``None`` means no limit.
    :param calls_per_minute: calls of the whole connection, across tasks and workers; ``None`` means no limit.
    :param max_concurrent_calls: likewise, calls at the same time.
    """

    conn_id: str
    secret: str = field(repr=False)
    auto_upgrade: bool = False
    call_cap: tuple[int, timedelta] | None = None
    calls_per_minute: float | None = None
    max_concurrent_calls: int | None = None


def read_store_config(extra: Mapping[str, object]) -> StoreConfig | None:
    """Read what a connection's extra says of the store, as the form, a URI or JSON fills it in.

    :param extra: may hold :data:`STORE_KEYS`; numbers and booleans may be text, and what is empty is not
        given.
    :return: ``None`` without a ``store_conn_id``.
    :raises InvalidInput: with the name of the field at fault; also for an option that needs the store which
        is not there.
    """
    given = {name: _text(extra.get(name)) for name in STORE_KEYS}
    auto_upgrade = _boolean(given, "store_auto_upgrade")
    if not given[STORE_CONN_ID]:
        _refuse_options_without_store(given | {"store_auto_upgrade": "true" if auto_upgrade else ""})
        return None
    return StoreConfig(
        conn_id=given[STORE_CONN_ID],
        secret=_secret(given["store_secret"]),
        auto_upgrade=auto_upgrade,
        call_cap=parse_call_cap(given["call_cap"]),
        calls_per_minute=_number(given, "calls_per_minute"),
        max_concurrent_calls=_whole_number(given, "max_concurrent_calls"),
    )


def parse_call_cap(text: str, field: str = "call_cap") -> tuple[int, timedelta] | None:
    """Read a cap as ``"2/1d"``: so many calls within so many seconds, minutes, hours or days.

    :param text: empty means no cap.
    :param field: the name that an error gives.
    :raises InvalidInput: it is written otherwise, or is not above 0 and within :data:`LONGEST_CAP`.
    """
    if not text:
        return None
    calls, per_s = 0, 0.0
    if parts := _CAP.fullmatch(text):
        # In seconds first, since a timedelta of so many days may not exist.
        calls, per_s = int(parts[1]), int(parts[2]) * UNITS[parts[3]].total_seconds()
    if calls == 0 or not 0 < per_s <= LONGEST_CAP.total_seconds():
        raise InvalidInput(
            field,
            "must be a number of calls and a time, both above 0, such as 2/1d; the time ends in s, m, h or d"
            f" and is at most {LONGEST_CAP.days} days",
        )
    return calls, timedelta(seconds=per_s)


def _text(value: object) -> str:
    return str(value).strip() if value is not None else ""


def _refuse_options_without_store(given: Mapping[str, str]) -> None:
    for name, text in given.items():
        if text:
            raise InvalidInput(name, f"needs a call store; name its connection in {STORE_CONN_ID}")


def _secret(text: str) -> str:
    keys = [key.strip() for key in text.split(",")] if text else []
    if not keys:
        reason = (
            "is empty: give it the secret with which the store was set up. For a new store,"
            " `python -m formant_provider.store secret` makes one"
        )
        raise InvalidInput("store_secret", reason)
    if not all(_is_fernet_key(key) for key in keys):
        raise InvalidInput(
            "store_secret", "must be a secret in the form of a Fernet key, or several separated by commas"
        )
    return ",".join(keys)


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key.encode("ascii"), altchars=b"-_", validate=True)) == 32
    except ValueError:
        return False


def _boolean(given: Mapping[str, str], name: str) -> bool:
    text = given[name].lower() or "false"
    if text not in _BOOLEANS:
        raise InvalidInput(name, "must be true or false")
    return _BOOLEANS[text]


def _number(given: Mapping[str, str], name: str) -> float | None:
    text = given[name]
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise InvalidInput(name, "must be a number above 0")
    return number


def _whole_number(given: Mapping[str, str], name: str) -> int | None:
    number = _number(given, name)
    if number is not None and not number.is_integer():
        raise InvalidInput(name, "must be a whole number above 0")
    return None if number is None else int(number)

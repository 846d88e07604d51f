"""How webhooks are accepted, and how long they are kept: read from the extra of a connection."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from formant_provider.api.errors import InvalidInput
from formant_provider.api.store_config import STORE_CONN_ID, UNITS

WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - the name of a field
WEBHOOK_KEYS = (WEBHOOK_SECRET, "webhook_tolerance", "webhook_keep_for")
DEFAULT_TOLERANCE_S = 3600
# Twice the tolerance is not longer than an event is kept, or one that is sent again after it was deleted
# would be taken for a new one.
MAX_TOLERANCE_S = 12 * 3600
LEAST_KEEP_FOR = timedelta(days=1)
MOST_KEEP_FOR = timedelta(days=366)
DEFAULT_KEEP_FOR = timedelta(days=30)
MOST_SECRETS = 2
LEAST_SECRET_LENGTH = 16
_SPAN = re.compile(r"([0-9]{1,9})\s*([smhd])", re.ASCII)


@dataclass(frozen=True)
class WebhookConfig:
    """How webhooks of a connection are accepted.

    :param secrets: one, or two while they are exchanged, the new one first; never part of a ``repr``.
    :param tolerance: how far the moment that the vendor has signed may be from now.
    :param keep_for: how long an event is kept.
    """

    secrets: tuple[str, ...] = field(repr=False)
    tolerance: timedelta = timedelta(seconds=DEFAULT_TOLERANCE_S)
    keep_for: timedelta = DEFAULT_KEEP_FOR


def read_webhook_config(extra: Mapping[str, object]) -> WebhookConfig | None:
    """Read what a connection's extra says of webhooks, as the form, a URI or JSON fills it in.

    :param extra: may hold :data:`WEBHOOK_KEYS`; a number may be text, and what is empty is not given.
    :return: ``None`` without a ``webhook_secret``.
    :raises InvalidInput: with the name of the field at fault; also for a secret without a call store, and for
        an option without a secret.
    """
    given = {name: _given(name, extra.get(name)) for name in WEBHOOK_KEYS}
    if not given[WEBHOOK_SECRET]:
        for name, text in given.items():
            if text:
                raise InvalidInput(name, f"needs a {WEBHOOK_SECRET}, without which no webhook is accepted")
        return None
    if not _text(extra.get(STORE_CONN_ID)):
        reason = f"needs a call store, which holds what comes; name its connection in {STORE_CONN_ID}"
        raise InvalidInput(WEBHOOK_SECRET, reason)
    secrets = _secrets(given[WEBHOOK_SECRET])
    if set(secrets) & {each.strip() for each in _text(extra.get("store_secret")).split(",")}:
        raise InvalidInput(WEBHOOK_SECRET, "must differ from the store_secret, which nobody else may know")
    return WebhookConfig(
        secrets=secrets,
        tolerance=_tolerance(given["webhook_tolerance"]),
        keep_for=_keep_for(given["webhook_keep_for"]),
    )


def _given(name: str, value: object) -> str:
    """Return a value as text; a list of secrets, as text, would be a secret that nobody has."""
    if not isinstance(value, str | int | float | None) or isinstance(value, bool):
        raise InvalidInput(name, "must be text or a number")
    return _text(value)


def _text(value: object) -> str:
    return str(value).strip() if value is not None else ""


def _secrets(text: str) -> tuple[str, ...]:
    secrets = tuple(part.strip() for part in text.split(","))
    if len(secrets) > MOST_SECRETS or any(len(secret) < LEAST_SECRET_LENGTH for secret in secrets):
        raise InvalidInput(
            WEBHOOK_SECRET,
            f"must be a secret of at least {LEAST_SECRET_LENGTH} characters, or two with a comma between"
            " them, the new one first",
        )
    return secrets


def _tolerance(text: str) -> timedelta:
    if not text:
        return timedelta(seconds=DEFAULT_TOLERANCE_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= MAX_TOLERANCE_S:
        raise InvalidInput("webhook_tolerance", f"must be a number of seconds from 1 to {MAX_TOLERANCE_S}")
    return timedelta(seconds=seconds)


def _keep_for(text: str) -> timedelta:
    if not text:
        return DEFAULT_KEEP_FOR
    found = _SPAN.fullmatch(text)
    # In seconds first, since a timedelta of so many days may not exist.
    seconds = int(found[1]) * UNITS[found[2]].total_seconds() if found else 0
    if not LEAST_KEEP_FOR.total_seconds() <= seconds <= MOST_KEEP_FOR.total_seconds():
        raise InvalidInput(
            "webhook_keep_for",
            f"must be a time from {LEAST_KEEP_FOR.days} to {MOST_KEEP_FOR.days} days that ends in s, m, h or"
            " d, such as 30d",
        )
    return timedelta(seconds=seconds)

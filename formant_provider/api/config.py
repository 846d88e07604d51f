"""Where the API is, who we are there, and how long we wait: read from the fields of a connection.

Hosts: https://docs.formantai.com/api-reference/overview
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from string import Formatter
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from formant_provider.api.errors import InvalidInput
from formant_provider.api.store_config import STORE_KEYS, StoreConfig, read_store_config
from formant_provider.api.webhook_config import WEBHOOK_KEYS, WebhookConfig, read_webhook_config

REGIONS: Mapping[str, str] = {
    "global": "https://api.voice.formantai.com",
    "in": "https://api.in.voice.formantai.com",
}
DEFAULT_REGION = "global"
DEFAULT_CONNECT_TIMEOUT_S = 5.0
DEFAULT_READ_TIMEOUT_S = 30.0
MAX_TIMEOUT_S = 120.0
_OWN_KEYS = ("region", "connect_timeout", "read_timeout", "conversation_url_template")
EXTRA_KEYS = frozenset({*_OWN_KEYS, *STORE_KEYS, *WEBHOOK_KEYS})
URL_NAMES = ("agent_id", "conversation_id", "trace_id")


@dataclass(frozen=True)
class ClientConfig:
    """Everything a client needs to know about its server.

    :param base_url: scheme, host and port, and a path prefix if there is one; no slash at the end.
    :param api_key: the bearer key; never part of a ``repr``.
    :param connect_timeout_s: seconds to wait for a connection.
    :param read_timeout_s: seconds to wait for the next byte of an answer.
    :param conversation_url_template: where people look at a conversation, with ``agent_id``,
        ``conversation_id`` and ``trace_id`` in braces; ``None`` when nobody said, since the vendor documents
        no such page.
    :param store: the call store of this connection; ``None`` without one.
    :param webhooks: how its webhooks are accepted; ``None`` when they are not.
    """

    base_url: str
    api_key: str = field(repr=False)
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S
    read_timeout_s: float = DEFAULT_READ_TIMEOUT_S
    conversation_url_template: str | None = None
    store: StoreConfig | None = None
    webhooks: WebhookConfig | None = None

    def conversation_url(self, **ids: object) -> str | None:
        """Return the page of one conversation; ``None`` when an id that the page needs is not known.

        :param ids: ``agent_id``, ``conversation_id`` and ``trace_id``.
        """
        template = self.conversation_url_template
        if template is None or any(ids.get(name) is None for name in _names_in(template)):
            return None
        return template.format(**{name: quote(str(value), safe="") for name, value in ids.items()})


def read_config(
    *,
    host: str | None,
    port: int | None,
    password: str | None,
    extra: Mapping[str, object],
    region: str | None = None,
    with_store: bool = True,
) -> ClientConfig:
    """Read the fields of an Airflow connection, as the form, a URI or JSON fills them in.

    :param host: base URL that overrides the region's. Without a scheme it means https. The connection's URI
        form splits the port off, so ``port`` is put back.
    :param extra: may hold :data:`EXTRA_KEYS`; timeouts are seconds, as a number or as text.
    :param region: the task's, which comes before the connection's.
    :param with_store: whether to read what it says of a call store, and of webhooks, which need one.
    :raises InvalidInput: with the name of the field at fault.
    """
    _refuse_misspelt(extra, ("region", *((*STORE_KEYS, *WEBHOOK_KEYS) if with_store else ())))
    region_url = _region_url(region, "the task") if region else _region_url(_text(extra.get("region")))
    return ClientConfig(
        base_url=_base_url(host.strip(), port) if host and host.strip() else region_url,
        api_key=_api_key(password),
        connect_timeout_s=_timeout_s(extra, "connect_timeout", DEFAULT_CONNECT_TIMEOUT_S),
        read_timeout_s=_timeout_s(extra, "read_timeout", DEFAULT_READ_TIMEOUT_S),
        conversation_url_template=_url_template(_text(extra.get("conversation_url_template"))),
        store=read_store_config(extra) if with_store else None,
        webhooks=read_webhook_config(extra) if with_store else None,
    )


def _text(value: object) -> str:
    return str(value).strip() if value is not None else ""


def extra_of(connection: Any) -> Mapping[str, object]:
    """Return the extra of an Airflow connection.

    What is no JSON Airflow takes for nothing at all: calls would be placed without the call store that it
    names, and in another region.

    :raises InvalidInput: it is no JSON, or no object.
    """
    text, extra = connection.extra, None
    with suppress(ValueError):
        extra = json.loads(text) if text and text.strip() else {}
    if not isinstance(extra, Mapping):
        raise InvalidInput("extra", "must be a JSON object")
    return dict(connection.extra_dejson)  # which lets Airflow mask what is secret in it


def read_store(extra: object) -> StoreConfig | None:
    """Read what the extra of a connection says of its call store alone, as :func:`read_config` does.

    :raises InvalidInput: with the name of the field at fault.
    """
    if not isinstance(extra, Mapping):
        raise InvalidInput("extra", "must be a JSON object")
    _refuse_misspelt(extra, STORE_KEYS)
    return read_store_config(extra)


def unknown_keys(extra: Mapping[str, object]) -> list[str]:
    """Return the keys of a connection's extra that mean nothing here."""
    return sorted(set(extra) - EXTRA_KEYS)


def _refuse_misspelt(extra: Mapping[str, object], names: Iterable[str]) -> None:
    """Refuse a key that is nearly one which must not be missed: another region, or no store and no limits.

    A private body that is kept for longer than somebody wrote is no less.
    """
    for name in names:
        if name not in extra and (near := get_close_matches(name, unknown_keys(extra), n=1, cutoff=0.8)):
            raise InvalidInput("extra", f"has the unknown key {near[0]!r}; did you mean {name!r}?")


def _region_url(region: str, source: str = "the connection") -> str:
    region = region or DEFAULT_REGION
    if region not in REGIONS:
        known = ", ".join(map(repr, REGIONS))
        raise InvalidInput("region", f"of {source} is unknown; must be one of {known}")
    return REGIONS[region]


def _api_key(password: str | None) -> str:
    key = (password or "").strip()
    if not key:
        raise InvalidInput("password", "the connection has no API key; put it into the password field")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput("password", "the API key holds spaces or characters that no HTTP header can carry")
    return key


def _timeout_s(extra: Mapping[str, object], name: str, default_s: float) -> float:
    text = _text(extra.get(name))
    if not text:
        return default_s
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise InvalidInput(name, f"must be a number of seconds above 0 and at most {MAX_TIMEOUT_S:g}")
    return seconds


def _url_template(text: str) -> str | None:
    if not text:
        return None
    if urlsplit(text).scheme not in {"http", "https"} or not set(_names_in(text)) <= set(URL_NAMES):
        raise InvalidInput(
            "conversation_url_template",
            f"must be an http or https URL with no other names in braces than {', '.join(URL_NAMES)}",
        )
    return text


def _names_in(template: str) -> list[str]:
    """Return the names in braces; one that cannot be filled in, such as ``{a.b}``, is returned as written."""
    with suppress(ValueError):
        fields = list(Formatter().parse(template))
        return [f"{name}{form}{change or ''}" for _, name, form, change in fields if name is not None]
    return ["{"]


def _base_url(host: str, port: int | None) -> str:
    url = _split(host if "://" in host else f"https://{host}")
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise InvalidInput("host", "must be an http or https URL such as https://proxy.example:8443")
    if url.username or url.password or url.query or url.fragment:
        raise InvalidInput("host", "must be a base URL without user, password, query or fragment")
    if url.path.rstrip("/") == "/v1":
        raise InvalidInput("host", "must be given without /v1, which is part of every request's path")
    if url.scheme == "http" and not _is_loopback(url.hostname):
        raise InvalidInput(
            "host", "plain http would send the API key unencrypted; use https (http is for loopback)"
        )
    return url._replace(netloc=_netloc(url, port), path=url.path.rstrip("/")).geturl()


def _split(url: str) -> SplitResult:
    with suppress(ValueError):
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
        return parts
    raise InvalidInput("host", "is not a URL that can be read")


def _netloc(url: SplitResult, port: int | None) -> str:
    if url.port is not None or port is None:
        return url.netloc
    return f"{url.netloc.rstrip(':')}:{port}"


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False

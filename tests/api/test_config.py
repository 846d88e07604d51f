from __future__ import annotations

from typing import Any

import pytest

from formant_provider.api.config import read_config
from formant_provider.api.errors import InvalidInput

KEY = "key-1234567"


def read(**fields: Any) -> Any:
    return read_config(**{"host": None, "port": None, "password": KEY, "extra": {}, **fields})


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, "https://api.voice.formantai.com"),
        ({"extra": {"region": "in"}}, "https://api.in.voice.formantai.com"),
        ({"extra": {"region": None}}, "https://api.voice.formantai.com"),
        ({"extra": {"region": "in"}, "region": "global"}, "https://api.voice.formantai.com"),
        ({"region": "in", "host": ""}, "https://api.in.voice.formantai.com"),
        ({"host": "https://proxy.example:8443/formant/"}, "https://proxy.example:8443/formant"),
        ({"host": "proxy.example"}, "https://proxy.example"),
        ({"host": "http://127.0.0.1", "port": 8085}, "http://127.0.0.1:8085"),
        ({"host": "http://127.0.0.1:8085", "port": 9}, "http://127.0.0.1:8085"),
        ({"host": "http://localhost:1"}, "http://localhost:1"),
        ({"host": "http://[::1]:8085"}, "http://[::1]:8085"),
        ({"host": "http://127.0.0.1:1", "extra": {"region": "in"}}, "http://127.0.0.1:1"),
        ({"port": 8085}, "https://api.voice.formantai.com"),
    ],
)
def test_the_base_url_is_the_region_s_unless_host_overrides_it(fields: dict[str, Any], base_url: str) -> None:
    """Region chooses the URL, the task's before the connection's; a host overrides both."""
    assert read(**fields).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"extra": {"region": "eu"}}, "region"),
        ({"region": "EU"}, "region"),
        ({"password": None}, "password"),
        ({"password": "  "}, "password"),
        ({"password": "two words"}, "password"),
        ({"password": "new\nline"}, "password"),
        ({"password": "schlüssel"}, "password"),
        ({"host": "http://proxy.example"}, "host"),
        ({"host": "http://127.0.0.1.example"}, "host"),
        ({"host": "http://10.0.0.1"}, "host"),
        ({"host": "http://0.0.0.0"}, "host"),
        ({"host": "ftp://proxy.example"}, "host"),
        ({"host": "https://:8443"}, "host"),
        ({"host": "https://user:pw@proxy.example"}, "host"),
        ({"host": "https://proxy.example?x=1"}, "host"),
        ({"host": "https://proxy.example:port"}, "host"),
        ({"host": "https://[::1"}, "host"),
        ({"extra": {"connect_timeout": "soon"}}, "connect_timeout"),
        ({"extra": {"connect_timeout": 0}}, "connect_timeout"),
        ({"extra": {"read_timeout": -1}}, "read_timeout"),
        ({"extra": {"read_timeout": "nan"}}, "read_timeout"),
        ({"extra": {"read_timeout": 121}}, "read_timeout"),
        *[
            ({"extra": {"conversation_url_template": template}}, "conversation_url_template")
            for template in (
                "calls.example/{trace_id}",
                "javascript:alert(1)//{trace_id}",
                "https://calls.example/{customer_phone}",
                "https://calls.example/{}",
                "https://calls.example/{trace_id.__class__}",
                "https://calls.example/{trace_id!r}",
                "https://calls.example/{trace_id",
            )
        ],
    ],
)
def test_a_wrong_field_is_refused_by_its_name(fields: dict[str, Any], field: str) -> None:
    """Unknown region, missing key, plain http beyond loopback: the error names the field, not the value."""
    with pytest.raises(InvalidInput) as caught:
        read(**fields)
    assert caught.value.field == field
    assert caught.value.__context__ is None
    for value in fields.values():
        assert not isinstance(value, str) or not value.strip() or value not in str(caught.value)


@pytest.mark.parametrize(("given", "seconds"), [(2, 2.0), ("2.5", 2.5), ("", 5.0), (None, 5.0)])
def test_timeouts_may_be_numbers_or_text(given: object, seconds: float) -> None:
    """JSON gives numbers, the URI form gives text, an empty field means the default."""
    assert read(extra={"connect_timeout": given}).connect_timeout_s == seconds


def test_the_key_is_not_part_of_the_repr() -> None:
    """A config that ends up in a log shows no key."""
    assert KEY not in repr(read())


IDS = {"agent_id": 456, "trace_id": "t/1", "conversation_id": None}


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("https://calls.example/{agent_id}/{trace_id}", "https://calls.example/456/t%2F1"),
        ("https://calls.example/", "https://calls.example/"),
        ("https://calls.example/{conversation_id}", None),
        (None, None),
    ],
)
def test_a_conversation_has_a_page_when_its_ids_are_known(template: str | None, url: str | None) -> None:
    """Ids are put in so that they stay one piece of the address; without one of them there is none."""
    config = read(extra={"conversation_url_template": template} if template else {})
    assert config.conversation_url(**IDS) == url


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"region": "eu"}, "region: of the task is unknown; must be one of 'global', 'in'"),
        ({"extra": {"region": "eu"}}, "region: of the connection is unknown; must be one of 'global', 'in'"),
        ({"extra": {"regoin": "in"}}, "extra: has the unknown key 'regoin'; did you mean 'region'?"),
        (
            {"host": "https://proxy.example/v1/"},
            "host: must be given without /v1, which is part of every request's path",
        ),
    ],
)
def test_a_refusal_says_where_the_mistake_is(fields: dict[str, Any], said: str) -> None:
    """A region says whether it is the task's or the connection's; a misspelt key is never ignored."""
    with pytest.raises(InvalidInput) as refused:
        read(**fields)
    assert str(refused.value) == said


def test_a_gateway_s_path_may_end_in_v1() -> None:
    """Only the bare path of the API is taken for a mistake, and other unknown keys change no region."""
    config = read(host="https://gateway.example/acme/v1", extra={"write_timeout": 3})
    assert config.base_url == "https://gateway.example/acme/v1"

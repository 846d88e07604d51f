"""A cap as a user writes it: checked when the file is parsed, and the same in every process."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from airflow.serialization.helpers import serialize_template_field

from formant_provider.api.errors import InvalidInput
from formant_provider.call_cap import CallCap
from formant_provider.core.caps import CapRule


def test_without_words_it_is_two_calls_a_day() -> None:
    """The default is the one of the documentation."""
    assert CallCap().rule() == CapRule(2, timedelta(days=1))


@pytest.mark.parametrize("per", [timedelta(hours=12), 43200, 43200.0, "12h", "720m"])
def test_one_length_is_one_rule_and_one_text(per: Any) -> None:
    """However it is written, the same is held, and the same is shown."""
    cap = CallCap(3, per)
    assert cap.rule() == CapRule(3, timedelta(hours=12))
    assert cap.serialize() == {"calls": "3", "per": "12h"}
    assert repr(cap) == "CallCap(calls='3', per='12h')"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"calls": 0}, "call_cap.calls"),
    ({"calls": True}, "call_cap.calls"),
    ({"calls": 1.5}, "call_cap.calls"),
    ({"calls": "two"}, "call_cap.calls"),
    ({"per": 0}, "call_cap.per"),
    ({"per": "7"}, "call_cap.per"),
    ({"per": None}, "call_cap.per"),
    ({"per": timedelta(days=400)}, "call_cap.per"),
]


@pytest.mark.parametrize(("fields", "told"), WRONG, ids=str)
def test_what_is_invalid_and_no_template_breaks_the_dag_file(fields: dict[str, Any], told: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=told):
        CallCap(**fields)


def test_a_template_is_checked_once_it_is_rendered() -> None:
    """It may become anything; what it became is refused with the name of its field."""
    cap = CallCap("{{ params.calls }}", "{{ params.per }}")
    assert cap.serialize() == {"calls": "{{ params.calls }}", "per": "{{ params.per }}"}
    with pytest.raises(InvalidInput, match=r"call_cap\.calls"):
        cap.rule()
    cap.calls = "1"
    with pytest.raises(InvalidInput, match=r"call_cap\.per"):
        cap.rule()
    cap.per = "1d"
    assert cap.rule() == CapRule(1, timedelta(days=1))


def test_it_is_the_same_in_every_process() -> None:
    """What differs from parse to parse would be a new version of the DAG."""
    program = "from formant_provider.call_cap import CallCap; print(repr(CallCap('{{ 1 }}', 3600)))"
    shown = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert shown == {b"CallCap(calls='{{ 1 }}', per='1h')\n"}


def test_airflow_shows_it_as_plain_text() -> None:
    """A rendered field is stored as JSON."""
    shown = serialize_template_field(CallCap(1, "7d"), "call_cap")
    assert json.loads(json.dumps(shown)) == {"calls": "1", "per": "7d"}

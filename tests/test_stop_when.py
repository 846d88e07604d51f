"""Limits of a list as a user writes them: checked when the file is parsed, and the same in every process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.serialization.helpers import serialize_template_field

from formant_provider.api.errors import InvalidInput
from formant_provider.core.call_lists.stopping import StopRule
from formant_provider.stop_when import StopWhen


def test_all_limits_are_those_that_were_written() -> None:
    """As numbers or as their text, which is what a template renders to."""
    given = (100, 90.5, 250, 0.25, 30, 20)
    expected = StopRule(*given)
    assert StopWhen(*given).rule() == expected
    assert StopWhen(*map(str, given)).rule() == expected
    assert StopWhen(reached=5).rule() == StopRule(reached=5)
    assert StopWhen(failed_above=0).rule() == StopRule(failed_above=0, after=50)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "stop_when: must have a limit"),
    ({"after": 5}, "must have a limit"),
    ({"reached": 0}, "stop_when.reached"),
    ({"reached": 1.5}, "stop_when.reached"),
    ({"minutes": 0}, "stop_when.minutes"),
    ({"minutes": "ten"}, "stop_when.minutes"),
    ({"minutes": True}, "stop_when.minutes"),
    ({"minutes": float("nan")}, "stop_when.minutes"),
    ({"minutes": float("inf")}, "stop_when.minutes"),
    ({"minutes": -1}, "stop_when.minutes"),
    ({"cost": 9}, "stop_when.cost: .*cost_per_minute"),
    ({"cost_per_minute": 9, "reached": 1}, "stop_when.cost_per_minute: .*without cost"),
    ({"reached": 1, "after": 9}, "stop_when.after: .*failed_above"),
    ({"failed_above": 101}, "stop_when.failed_above"),
    ({"failed_above": 0.3}, "in percent: write 30 instead"),
    ({"failed_above": 30, "after": 0}, "stop_when.after"),
    ({"cost": "{{ params.cost }}"}, "stop_when.cost: .*cost_per_minute"),
]


@pytest.mark.parametrize(("fields", "told"), WRONG, ids=str)
def test_what_is_invalid_and_no_template_breaks_the_dag_file(fields: dict[str, Any], told: str) -> None:
    """The error names the field, also where it is a mapping of a YAML file."""
    with pytest.raises(ValueError, match=told):
        StopWhen(**fields)
    with pytest.raises(ValueError, match=told):
        StopWhen.of(fields)


def test_a_mapping_is_what_its_fields_say() -> None:
    """As it is read from a YAML file; a field that is none is refused, and so is anything else."""
    assert StopWhen.of({"reached": 3}) == StopWhen(reached=3)
    assert StopWhen.of(None) is None
    known = StopWhen(reached=3)
    assert StopWhen.of(known) is known
    wrong: list[Any] = [{"most": 3}, 3]
    for value in wrong:
        with pytest.raises(ValueError, match="stop_when"):
            StopWhen.of(value)


def test_a_template_is_checked_once_it_is_rendered() -> None:
    """It may become anything; what it became is refused with the name of its field."""
    limits = StopWhen(reached="{{ params.goal }}", minutes="{{ params.minutes }}")
    with pytest.raises(InvalidInput, match=r"stop_when\.reached"):
        limits.rule()
    limits.reached = "7"
    with pytest.raises(InvalidInput, match=r"stop_when\.minutes"):
        limits.rule()
    limits.reached = limits.minutes = None  # as a native template may render
    with pytest.raises(InvalidInput, match="must have a limit"):
        limits.rule()


def test_it_is_shown_as_plain_text_the_same_however_it_was_written() -> None:
    """A rendered field is stored as JSON, and what differs from parse to parse would be a new DAG."""
    written = StopWhen(reached=100, minutes=90.0, failed_above="{{ params.share }}")
    shown = {"reached": "100", "minutes": "90", "failed_above": "{{ params.share }}"}
    assert json.loads(json.dumps(serialize_template_field(written, "stop_when"))) == shown
    text = "StopWhen(reached='100', minutes='90', failed_above='{{ params.share }}')"
    assert repr(written) == repr(StopWhen("100", 90, failed_above="{{ params.share }}")) == text

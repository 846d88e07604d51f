"""Attempts as a user writes them: checked when the file is parsed, and the same in every process."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from airflow.serialization.helpers import serialize_template_field

from formant_provider.api.errors import InvalidInput
from formant_provider.attempts import Attempts
from formant_provider.core.call_lists.attempting import AttemptRule

HOURS = timedelta(hours=2)


def test_without_words_it_is_one_attempt() -> None:
    """Nobody is called twice who did not ask for it."""
    assert Attempts().rule() == AttemptRule(1, {}, None)


@pytest.mark.parametrize("wait", ["2h", "120m", 7200, 7200.0, HOURS])
def test_one_wait_is_one_rule_and_one_text(wait: Any) -> None:
    """However it is written, the same is held, and the same is shown."""
    attempts = Attempts(3, {"no_answer": wait}, per_day=2)
    assert attempts.rule() == AttemptRule(3, {"no_answer": HOURS}, 2)
    assert attempts.serialize() == {"most": "3", "after": {"no_answer": "2h"}, "per_day": "2"}


BUSY = {"busy": "15m"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"most": 0}, "attempts.most"),
    ({"most": 21, "after": BUSY}, "attempts.most"),
    ({"most": True}, "attempts.most"),
    ({"most": 3}, "attempts.most.*after"),
    ({"after": BUSY}, "attempts.after.*most"),
    ({"most": 2, "after": {"completed": "1h"}}, "attempts.after.*no_answer"),
    ({"most": 2, "after": {"unknown": "1h"}}, "attempts.after.*no_answer"),
    ({"most": 2, "after": {7: "1h"}}, "attempts.after.*no_answer"),
    ({"most": 2, "after": {"completed": "{{ params.wait }}"}}, "attempts.after.*no_answer"),
    ({"most": 2, "after": {"busy": "15"}}, r"attempts.after\['busy'\]"),
    ({"most": 2, "after": {"busy": 0}}, r"attempts.after\['busy'\]"),
    ({"most": 2, "after": ["busy"]}, "attempts.after.*mapping"),
    ({"most": 2, "after": BUSY, "per_day": 0}, "attempts.per_day"),
    ({"most": 2, "after": BUSY, "per_day": "some"}, "attempts.per_day"),
]


@pytest.mark.parametrize(("fields", "told"), WRONG, ids=str)
def test_what_is_invalid_and_no_template_breaks_the_dag_file(fields: dict[str, Any], told: str) -> None:
    """The error names the field, also where it is a mapping of a YAML file."""
    with pytest.raises(ValueError, match=told):
        Attempts(**fields)
    with pytest.raises(ValueError, match=told):
        Attempts.of(fields)


def test_a_mapping_is_what_its_fields_say() -> None:
    """As it is read from a YAML file; a field that is none is refused, and so is anything else."""
    fields = {"most": 3, "after": {"busy": "15m"}, "per_day": 2}
    assert Attempts.of(fields) == Attempts(**fields)
    assert Attempts.of(None) == Attempts()
    known = Attempts()
    assert Attempts.of(known) is known
    wrong: list[Any] = [{"max": 3}, 3, "3"]
    for value in wrong:
        with pytest.raises(ValueError, match="attempts"):
            Attempts.of(value)


def test_a_template_is_checked_once_it_is_rendered() -> None:
    """It may become anything; what it became is refused with the name of its field."""
    attempts = Attempts("{{ params.most }}", {"busy": "{{ params.wait }}"}, "{{ params.per_day }}")
    with pytest.raises(InvalidInput, match=r"attempts\.most"):
        attempts.rule()
    attempts.most, attempts.after = "3", "{{ params.after }}"
    with pytest.raises(InvalidInput, match=r"attempts\.after"):
        attempts.rule()
    attempts.after = {"busy": "15m"}
    with pytest.raises(InvalidInput, match=r"attempts\.per_day"):
        attempts.rule()
    attempts.per_day = "2"
    assert attempts.rule() == AttemptRule(3, {"busy": timedelta(minutes=15)}, 2)
    attempts.most = "1"
    attempts.after = None  # as a native template may render
    assert attempts.rule() == AttemptRule(1, {}, 2)
    attempts.after = {"busy": "15m"}
    with pytest.raises(InvalidInput, match=r"attempts\.after"):
        attempts.rule()


def test_it_is_the_same_in_every_process() -> None:
    """What differs from parse to parse would be a new version of the DAG."""
    program = (
        "from formant_provider.attempts import Attempts\n"
        "print(repr(Attempts(3, {'no_answer': 7200, 'busy': '{{ 1 }}'})))"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    after = "{'busy': '{{ 1 }}', 'no_answer': '2h'}"
    assert shown == {f"Attempts(most='3', after={after}, per_day=None)\n".encode()}


def test_airflow_shows_it_as_plain_text() -> None:
    """A rendered field is stored as JSON."""
    shown = serialize_template_field(Attempts(2, {"busy": "15m"}), "attempts")
    assert json.loads(json.dumps(shown)) == {"most": "2", "after": {"busy": "15m"}, "per_day": None}

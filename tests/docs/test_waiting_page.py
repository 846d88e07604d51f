"""The page on waiting says what the code does: parameters of the sensor, outcomes, fields."""

from __future__ import annotations

import inspect

from support.pages import code, of_an_outcome, table


def test_every_parameter_of_the_sensor_is_documented() -> None:
    """The table names each parameter and its default, none besides, the templated ones first."""
    from formant_provider.sensors.conversation import FormantConversationSensor as Sensor

    wanted = dict(inspect.signature(Sensor.__init__).parameters)
    del wanted["self"], wanted["kwargs"]
    rows = {code(name)[0]: default for name, _, default in table("waiting.md", "## The sensor")}
    assert list(rows) == list(wanted)
    assert list(rows)[: len(Sensor.template_fields)] == list(Sensor.template_fields)
    for name, default in rows.items():
        assert code(default)[0] == str(wanted[name].default), name


def test_every_outcome_is_documented() -> None:
    """The table of outcomes is the code's own list, and so is the list of what is handed on."""
    from formant_provider.core.conversations.statuses import FINAL, Endings
    from formant_provider.tasks.calls.outcome import RECORD_FIELDS

    rows = {code(row[0])[0]: row[2] for row in table("waiting.md", "## Outcomes") if code(row[0])}
    assert set(rows) == FINAL
    for status, ends in rows.items():
        assert ends.endswith("success") is Endings().is_success(status)
    assert of_an_outcome() == [*RECORD_FIELDS, "transcript"]

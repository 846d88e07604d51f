"""The page on campaigns says what the code does: parameters, reasons, fields, what XCom holds."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from formant_provider.core.numbers.reasons import Reason
from formant_provider.operators.batch import FormantCreateBatchCallOperator as Operator
from formant_provider.sensors.batch import FormantBatchCallSensor as Sensor
from formant_provider.tasks.batches.report import REPORT_COLUMNS
from support.pages import DOCS, code, table

PROSE = " ".join((DOCS / "campaigns.md").read_text().split())


def shown(*headings: str) -> dict[str, str]:
    return {code(name)[0]: text for each in headings for name, _, text in table("campaigns.md", each)}


@pytest.mark.parametrize(
    ("kind", "headings"),
    [(Operator, ("## Parameters", "### Options")), (Sensor, ("## When it is over",))],
)
def test_every_parameter_is_documented(kind: Any, headings: tuple[str, ...]) -> None:
    """The tables name each parameter and its default, none besides, the templated ones first."""
    wanted = dict(inspect.signature(kind.__init__).parameters)
    del wanted["self"], wanted["kwargs"]
    rows = shown(*headings)
    assert list(rows) == list(wanted)
    assert list(rows)[: len(kind.template_fields)] == list(kind.template_fields)
    for name, text in rows.items():
        if wanted[name].default is inspect.Parameter.empty:
            assert text.startswith("required"), name
        else:
            assert code(text)[0] == str(wanted[name].default), name


def test_every_reason_is_documented() -> None:
    """A contact that is left out is left out for a reason of the table."""
    assert list(shown_reasons()) == [str(reason) for reason in Reason]


def shown_reasons() -> dict[str, str]:
    return {code(name)[0]: text for name, text in table("campaigns.md", "## The contacts")}


def test_every_column_of_the_report_is_documented() -> None:
    """What can be in the report is named on the page."""
    for name in REPORT_COLUMNS:
        assert f"`{name}`" in PROSE

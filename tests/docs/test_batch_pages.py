"""The pages on batch calls say what the code does: reasons of contacts, columns of the report."""

from __future__ import annotations

from formant_provider.core.numbers.reasons import Reason
from formant_provider.tasks.batches.report import REPORT_COLUMNS
from support.pages import DOCS, code, table


def test_every_reason_is_documented() -> None:
    """A contact that is left out is left out for a reason of the table."""
    assert [code(row[0])[0] for row in table("contacts.md", "## Reasons")] == [
        str(reason) for reason in Reason
    ]


def test_every_column_of_the_report_is_documented() -> None:
    """What can be in the report is named on the page."""
    page = (DOCS / "batch-operator.md").read_text()
    for name in REPORT_COLUMNS:
        assert f"`{name}`" in page

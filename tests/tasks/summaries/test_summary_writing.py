"""The page is written where it was asked for, or its place is refused before anybody is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.tasks.summaries.summary import Summary
from formant_provider.tasks.summaries.writing import check_summary, check_written_summary, write_summary
from support.summaries import MADE_AT, a_call, a_row


@pytest.mark.parametrize("name", ["march.html", "march.htm", "March.HTML"])
def test_a_page_is_written_where_it_was_asked_for(name: str, tmp_path: Path) -> None:
    """It takes the place of an older one, and its folder is made."""
    summary = Summary()
    uri = f"{tmp_path}/new/{name}"
    check_summary(uri)
    for expected in ("0", "1"):
        written = write_summary(uri, summary, title="March", made_at=MADE_AT)
        page = (tmp_path / "new" / name).read_text("utf-8")
        assert written.endswith(f"/new/{name}")
        assert f"People called</dt><dd>{expected}</dd>" in page
        summary.add(a_row("completed", a_call()))
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize(
    "uri", ["/files/march.pdf", "/files/march", "s3://bucket/march.html.gz", "march.csv"]
)
def test_a_name_that_no_page_has_is_refused(uri: str) -> None:
    """When the DAG file is parsed, and when a template came to it."""
    with pytest.raises(InvalidInput, match="summary_uri"):
        check_written_summary(uri)
    with pytest.raises(InvalidInput, match="summary_uri"):
        check_summary(uri)


@pytest.mark.parametrize("uri", ["", "None", "march.html", "/files/pages/", "nowhere://b/march.html"])
def test_a_place_that_is_none_is_refused_when_the_task_runs(uri: str) -> None:
    """Blank, relative, a folder, or a storage that Airflow does not know."""
    with pytest.raises(InvalidInput, match="summary_uri"):
        check_summary(uri)


@pytest.mark.parametrize("uri", [None, "{{ params.page }}", "/files/{{ ds }}.pdf", "/files/march.html"])
def test_what_a_template_will_come_to_is_not_judged(uri: str | None) -> None:
    """Parsing refuses what the DAG file itself has written, and no more."""
    check_written_summary(uri)

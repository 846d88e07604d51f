"""Files that cannot be written where they are named are refused before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.tasks.storage.places import check_places, check_written_places

LIST = {"calls": "/in/people.csv"}
FILES = {"results_uri": "/out/r.csv", "progress_uri": "/out/p.jsonl"}
CHECKS = pytest.mark.parametrize("check", [check_written_places, check_places])
Check = Callable[..., None]


@CHECKS
def test_files_of_their_own_are_taken(check: Check) -> None:
    """One that is not asked for is none, and a list in memory is in no file."""
    check(LIST, FILES, {"summary_uri": "/out/s.html"})
    check({"calls": [{"customer_phone": "+14155550100"}]}, {**FILES, "progress_uri": None})


@CHECKS
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"results_uri": "/out/r.xlsx"}, "^results_uri: must end in one of .*; .xlsx cannot be written"),
        ({"progress_uri": "/out/r"}, "^progress_uri: must end in one of"),
        ({"results_uri": "/in/people.csv"}, "^results_uri: is where calls is read"),
        ({"progress_uri": "/out/r.csv"}, "^progress_uri: is where results_uri is written as well"),
    ],
)
def test_files_that_cannot_be_are_refused(check: Check, changed: dict[str, Any], error: str) -> None:
    """When the DAG file is parsed as well as when a template has become such a place."""
    with pytest.raises(InvalidInput, match=error):
        check(LIST, {**FILES, **changed})


@CHECKS
def test_a_page_is_in_no_place_of_another_file(check: Check) -> None:
    """All files that are written count, of whatever kind."""
    with pytest.raises(InvalidInput, match=r"^summary_uri: is where results_uri is written as well"):
        check(LIST, FILES, {"summary_uri": "/out/r.csv"})


def test_templates_are_judged_when_they_are_rendered() -> None:
    """What they become is not known when the DAG file is parsed."""
    check_written_places({"calls": "/in/{{ ds }}.csv"}, {"results_uri": "/in/{{ ds }}"})
    check_written_places(LIST, {"results_uri": "{{ params.results }}"})


@pytest.mark.parametrize("uri", ["out/r.csv", " ", "/out/"])
def test_what_names_no_file_is_refused_when_the_task_begins(uri: str) -> None:
    """A template may have become it."""
    check_written_places(LIST, {"results_uri": uri})
    with pytest.raises(InvalidInput, match=r"^results_uri: "):
        check_places(LIST, {"results_uri": uri})


@pytest.mark.parametrize("name", ["s3://bucket/r.parquet", "/out/r.parquet"])
def test_a_place_is_checked_without_asking_its_storage(name: str) -> None:
    """Nothing is read to parse a DAG file."""
    check_written_places(LIST, {"results_uri": name})

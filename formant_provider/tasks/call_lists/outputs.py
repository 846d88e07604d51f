"""The files that a call list writes: checks of where they are, before anybody is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from formant_provider.tasks.options import is_template
from formant_provider.tasks.privacy import reveal
from formant_provider.tasks.storage.tables import form_of
from formant_provider.tasks.summaries.writing import check_summary, check_written_summary

if TYPE_CHECKING:
    from formant_provider.tasks.call_lists.fields import CallListTask

_READ = ("calls", "suppress")
_TABLES = ("results_uri", "progress_uri")
_WRITTEN = (*_TABLES, "summary_uri")


def check_written(task: CallListTask) -> None:
    """Refuse invalid paths that the DAG file itself holds; the rest is checked when the task runs."""
    check_written_summary(task.summary_uri)
    for name in _TABLES:
        uri = getattr(task, name)
        if uri is not None and not is_template(str(uri)) and _names_a_file(str(uri)):
            form_of(name, uri)
    _refuse_overlap(task, lambda text: not is_template(text))


def check_outputs(task: CallListTask) -> None:
    """Refuse files that cannot be written, or would replace one that is read, before anything is read."""
    from formant_provider.tasks.storage.files import to_file
    from formant_provider.tasks.storage.tables import check_format

    for name in _TABLES:
        uri = getattr(task, name)
        if uri is not None:
            to_file(name, uri)
            check_format(form_of(name, uri).file_format)
    if task.summary_uri is not None:
        check_summary(task.summary_uri)
    _refuse_overlap(task, lambda _: True)


def _refuse_overlap(task: CallListTask, counts: Any) -> None:
    from formant_provider.core.tables.parts import refuse_overlap

    read = {name: reveal(getattr(task, name)) for name in _READ}
    written = {name: getattr(task, name) for name in _WRITTEN}
    refuse_overlap(_places(read, counts), _places(written, counts))


def _places(values: Mapping[str, Any], counts: Any) -> dict[str, str]:
    """Return those that name a file; a list may be in memory, or in text that is refused later."""
    from formant_provider.tasks.storage.files import is_place, names_files

    named = {name: str(value).strip() for name, value in values.items() if names_files(value)}
    return {name: text for name, text in named.items() if text and is_place(text) and counts(text)}


def _names_a_file(text: str) -> bool:
    """Whether a path names a file at all; if not, it is refused when the task runs."""
    return bool(text.strip(" /")) and not text.endswith("/")

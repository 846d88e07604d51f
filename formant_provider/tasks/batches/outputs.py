"""The files that a batch call writes: checks of where they are, and the list of rows beside its report.

Two batch calls with one ``results_uri`` would use each other's list, and report on people they did not call.
So the list begins with its batch call's marker, and another one neither replaces, uses nor deletes it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress as ignoring
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import InvalidInput
from formant_provider.tasks.options import is_template
from formant_provider.tasks.storage.tables import form_of
from formant_provider.tasks.storage.uris import in_words
from formant_provider.tasks.summaries.writing import check_summary, check_written_summary

if TYPE_CHECKING:
    from formant_provider.core.batches.report import BatchReport

log = logging.getLogger(__name__)

_NEEDS_RESULTS = "needs results_uri: the page counts the rows of that report"


def check_written_outputs(read: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    """Refuse invalid paths that the DAG file itself holds; the rest is checked when the task runs.

    :param read: the fields of what is read, by name.
    :param written: ``rejects_uri``, ``results_uri`` and ``summary_uri``.
    """
    if written["summary_uri"] is not None and written["results_uri"] is None:
        raise ValueError(f"summary_uri {_NEEDS_RESULTS}")
    check_written_summary(written["summary_uri"])
    read, written = _literals(read), _literals(written)
    results_uri = written["results_uri"]
    # A path that names no file at all is refused when the task runs, by the rules of its storage.
    if results_uri is not None and str(results_uri).strip(" /") and not str(results_uri).endswith("/"):
        form_of("results_uri", results_uri)
    _refuse_overlap(read, written)


def check_outputs(read: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    """Refuse files that cannot be written, or would replace one that is read, before anything is read."""
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.tasks.storage.tables import check_format

    for name, uri in written.items():
        if uri is not None:
            to_file(name, uri)
    results_uri, summary_uri = written["results_uri"], written["summary_uri"]
    if results_uri is not None:
        check_format(form_of("results_uri", results_uri).file_format)
    if summary_uri is not None:
        check_summary(summary_uri)
        if results_uri is None:
            raise InvalidInput("summary_uri", _NEEDS_RESULTS)
    _refuse_overlap(read, written)


def _literals(places: Mapping[str, Any]) -> dict[str, Any]:
    return {name: place if _is_literal(place) else None for name, place in places.items()}


def _refuse_overlap(read: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    from formant_provider.core.tables.parts import refuse_overlap

    if (results_uri := written["results_uri"]) is not None:
        written = {**written, "the list of rows beside results_uri": recipients_uri(results_uri)}
    refuse_overlap(
        {name: str(place) for name, place in read.items() if _is_place(place)},
        {name: str(place) for name, place in written.items() if _is_place(place)},
    )


def _is_literal(value: Any) -> bool:
    return _is_place(value) and not is_template(str(value))


def _is_place(value: Any) -> bool:
    """Whether a value names a file; contacts may be in memory, or in text that is refused later."""
    from formant_provider.tasks.storage.files import names_files
    from formant_provider.tasks.storage.uris import is_place

    return names_files(value) and is_place(str(value)) and bool(str(value).strip())


def recipients_uri(results_uri: object) -> str:
    """Return where the list of rows is kept, for this report and for one of a further try."""
    return f"{str(results_uri).strip()}.recipients"


def refuse_taken(listed_uri: str, marker: str) -> None:
    """Refuse to replace the list of another batch call, which may still need it, before anything is sent."""
    from formant_provider.tasks.storage.files import open_to_read

    path = _path(listed_uri)
    with ignoring(FileNotFoundError), open_to_read(path) as file:
        _refuse_another(path, file, marker)


def add_rows(report: BatchReport, results_uri: str, marker: str) -> bool:
    """Add the rows of the contacts to a report; return whether they are known."""
    from formant_provider.core.contacts.row_list import read_row_list
    from formant_provider.tasks.storage.files import open_to_read

    path = _path(recipients_uri(results_uri))
    with ignoring(FileNotFoundError), open_to_read(path) as file:
        _refuse_another(path, file, marker)
        report.add_rows(read_row_list(file))
        return True
    return False


def delete_list(results_uri: str, *, is_complete: bool) -> None:
    """Delete the list of rows, which is not needed any more once the report is complete.

    It was read for that report, so it is the batch call's own.
    """
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.tasks.storage.files import delete_file

    folder, name = to_file("results_uri", recipients_uri(results_uri))
    if not is_complete:
        log.info(
            "%s stays there: the batch call is not over, and a cleared task reports again.",
            in_words(folder / name),
        )
        return
    try:
        delete_file(folder, name)
    except Exception as error:  # a storage that lets nobody delete, in its own words
        log.warning(
            "%s could not be deleted (%s). It holds the numbers of the contacts: delete it by hand, or give"
            " the connection of the storage the right to.",
            in_words(folder / name),
            type(error).__name__,
        )


def _path(listed_uri: str) -> Any:
    from formant_provider.hooks.storage.paths import to_file

    folder, name = to_file("results_uri", listed_uri)
    return folder / name


def _refuse_another(path: Any, file: Any, marker: str) -> None:
    """Read the first line of a list; refuse one that is not this batch call's."""
    from formant_provider.core.contacts.row_list import owner_in

    if owner_in(file.readline()) != marker:
        raise InvalidInput(
            "results_uri",
            f"another batch call uses this one: {in_words(path)} is its list of rows. Give each batch call"
            " and run a results_uri of its own; or, if the other one is over and reported on, delete that"
            " file and clear this task",
        )

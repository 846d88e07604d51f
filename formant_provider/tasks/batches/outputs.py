"""Checks the files that a batch call writes: that it can, and that none replaces a file that is read."""

from __future__ import annotations

from typing import Any

from formant_provider.tasks.batches.row_list import recipients_uri
from formant_provider.tasks.options import is_template
from formant_provider.tasks.storage.tables import form_of


def check_written_outputs(contacts: Any, suppress: Any, rejects_uri: Any, results_uri: Any) -> None:
    """Refuse invalid paths that the DAG file itself holds; the rest is checked when the task runs.

    :raises InvalidInput: as :func:`check_outputs` does.
    """
    given = (contacts, suppress, rejects_uri, results_uri)
    contacts, suppress, rejects_uri, results_uri = (place if _is_literal(place) else None for place in given)
    # A path that names no file at all is refused when the task runs, by the rules of its storage.
    if results_uri is not None and str(results_uri).strip(" /") and not str(results_uri).endswith("/"):
        form_of("results_uri", results_uri)
    _refuse_overlap(contacts, suppress, rejects_uri, results_uri)


def check_outputs(contacts: Any, suppress: Any, rejects_uri: Any, results_uri: Any) -> None:
    """Refuse files that cannot be written, or would replace one that is read, before anything is read.

    :param contacts: a place, or the contacts themselves.
    :param suppress: the same of the do-not-call list.
    :param rejects_uri: ``None`` means none.
    :param results_uri: as ``rejects_uri``; the list of rows lies beside it.
    :raises InvalidInput: with the name of the field.
    """
    from formant_provider.tasks.storage.files import to_file
    from formant_provider.tasks.storage.tables import check_format

    for name, uri in (("rejects_uri", rejects_uri), ("results_uri", results_uri)):
        if uri is not None:
            to_file(name, uri)
    if results_uri is not None:
        check_format(form_of("results_uri", results_uri).file_format)
    _refuse_overlap(contacts, suppress, rejects_uri, results_uri)


def _refuse_overlap(contacts: Any, suppress: Any, rejects_uri: Any, results_uri: Any) -> None:
    from formant_provider.core.tables.parts import refuse_overlap

    read = {"contacts": contacts, "suppress": suppress}
    written = {"rejects_uri": rejects_uri, "results_uri": results_uri}
    if results_uri is not None:
        written["the list of rows beside results_uri"] = recipients_uri(results_uri)
    refuse_overlap(
        {name: str(place) for name, place in read.items() if _is_place(place)},
        {name: str(place) for name, place in written.items() if _is_place(place)},
    )


def _is_literal(value: Any) -> bool:
    return _is_place(value) and not is_template(str(value))


def _is_place(value: Any) -> bool:
    """Whether a value names a file; contacts may be in memory, or in text that is refused later."""
    from formant_provider.tasks.storage.file_parts import names_files
    from formant_provider.tasks.storage.files import is_place

    return names_files(value) and is_place(str(value)) and bool(str(value).strip())

"""May a task write its files where they are named? Asked when a DAG file is parsed, and when the task begins.

Who finds out at the end of a long task that a file cannot be written has lost it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from formant_provider.tasks.options import is_template
from formant_provider.tasks.storage.tables import form_of

_NONE: Mapping[str, Any] = MappingProxyType({})


def check_written_places(
    read: Mapping[str, Any], tables: Mapping[str, Any], others: Mapping[str, Any] = _NONE
) -> None:
    """Refuse places that the DAG file itself holds, and that are invalid; templates are not known yet.

    :param read: what is read, by the name of its field; what names no file is passed over.
    :param tables: files of rows that are written, by the name of their field; ``None`` is not written.
    :param others: all other files that are written.
    """
    read, tables, others = _literals(read), _literals(tables), _literals(others)
    for field, uri in tables.items():
        # A path that names no file at all is refused when the task runs, by the rules of its storage.
        if not str(uri).strip().endswith("/"):
            form_of(field, uri)
    _refuse_overlap(read, {**tables, **others})


def check_places(
    read: Mapping[str, Any], tables: Mapping[str, Any], others: Mapping[str, Any] = _NONE
) -> None:
    """Refuse files that cannot be written, or would replace what is read or another one.

    :param read: as in :func:`check_written_places`, and so are the others.
    :raises InvalidInput: with the name of the field.
    """
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.tasks.storage.tables import check_format

    written = {field: uri for field, uri in {**tables, **others}.items() if uri is not None}
    for field, uri in written.items():
        _, name = to_file(field, uri)
        if field in tables:
            check_format(form_of(field, name).file_format)
    _refuse_overlap(read, written)


def _refuse_overlap(read: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    from formant_provider.core.tables.parts import refuse_overlap

    refuse_overlap(
        {field: str(place) for field, place in read.items() if _is_place(place)},
        {field: str(place) for field, place in written.items() if _is_place(place)},
    )


def _literals(places: Mapping[str, Any]) -> dict[str, Any]:
    return {
        field: place for field, place in places.items() if _is_place(place) and not is_template(str(place))
    }


def _is_place(value: Any) -> bool:
    """Whether a value names a file; rows may be in memory, or in text that is refused later."""
    from formant_provider.tasks.storage.files import names_files
    from formant_provider.tasks.storage.uris import is_place

    return names_files(value) and bool(str(value).strip()) and is_place(str(value))

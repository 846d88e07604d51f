"""The list of a batch call's rows, in a file beside its report, and the batch call that owns it.

Two batch calls with one ``results_uri`` would use each other's list, and report on people they did not call.
So the list begins with its batch call's marker, and another one neither replaces, uses nor deletes it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import InvalidInput

if TYPE_CHECKING:
    from formant_provider.core.batches.report import BatchReport

log = logging.getLogger(__name__)


def recipients_uri(results_uri: object) -> str:
    """Return where the list of rows is kept, for this report and for one of a further try."""
    return f"{str(results_uri).strip()}.recipients"


def refuse_taken(listed_uri: str, marker: str) -> None:
    """Refuse to replace the list of another batch call, before anything is sent.

    :param listed_uri: from :func:`recipients_uri`.
    :param marker: the marker of this one.
    :raises InvalidInput: another batch call may still need the list that is there.
    """
    path = _path(listed_uri)
    try:
        with path.open("rb") as file:
            _refuse_another(path, file, marker)
    except FileNotFoundError:
        return


def add_rows(report: BatchReport, results_uri: str, marker: str) -> bool:
    """Add the rows of the contacts to a report; return whether they are known.

    :raises InvalidInput: the list is another batch call's, so the report would be as well.
    """
    from formant_provider.core.contacts.row_list import read_row_list

    path = _path(recipients_uri(results_uri))
    try:
        with path.open("rb") as file:
            _refuse_another(path, file, marker)
            report.add_rows(read_row_list(file))
    except FileNotFoundError:
        return False
    return True


def delete_list(results_uri: str, *, is_complete: bool) -> None:
    """Delete the list of rows, which is not needed any more once the report is complete.

    It was read for that report, so it is the batch call's own.
    """
    from formant_provider.tasks.storage.files import delete_file, to_file

    folder, name = to_file("results_uri", recipients_uri(results_uri))
    if not is_complete:
        log.info(
            "%s stays there: the batch call is not over, and a cleared task reports again.", folder / name
        )
        return
    try:
        delete_file(folder, name)
    except Exception as error:  # a storage that lets nobody delete, in its own words
        log.warning(
            "%s could not be deleted (%s). It holds the numbers of the contacts: delete it by hand, or give"
            " the connection of the storage the right to.",
            folder / name,
            type(error).__name__,
        )


def _path(listed_uri: str) -> Any:
    from formant_provider.tasks.storage.files import to_file

    folder, name = to_file("results_uri", listed_uri)
    return folder / name


def _refuse_another(path: Any, file: Any, marker: str) -> None:
    """Read the first line of a list; refuse one that is not this batch call's."""
    from formant_provider.core.contacts.row_list import owner_in

    if owner_in(file.readline()) != marker:
        raise InvalidInput(
            "results_uri",
            f"another batch call uses this one: {path} is its list of rows. Give each batch call and run a"
            " results_uri of its own; or, if the other one is over and reported on, delete that file and"
            " clear this task",
        )

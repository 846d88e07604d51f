"""The do-not-call list that a task was given: a file, a list, or what should have become one and did not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from formant_provider.tasks.privacy import reveal

if TYPE_CHECKING:
    from formant_provider.core.tables.file_kinds import FileForm
    from formant_provider.tasks.given_fields import Given

log = logging.getLogger(__name__)


@contextmanager
def opened_numbers(
    suppress: object, form: FileForm | None = None, *, field: str = "suppress"
) -> Iterator[Iterable[object]]:
    """Open a do-not-call list: files by a URI or an absolute path, a list of numbers, or a data frame."""
    from formant_provider.api.errors import InvalidInput
    from formant_provider.core.contacts.do_not_call import NumbersInFiles, entries_of
    from formant_provider.core.tables.file_kinds import FileForm
    from formant_provider.tasks.storage.files import is_table, names_files, parts_of

    if names_files(suppress):
        yield NumbersInFiles(parts_of(field, suppress), form or FileForm())
    elif is_table(suppress):
        yield entries_of(suppress, form or FileForm())
    else:
        raise InvalidInput(field, "must be a URI, an absolute path, a list of numbers or a data frame")


def refuse_lost_list(given: Given) -> None:
    """Refuse a list that is not there, though the DAG file gives one: everybody would be called."""
    from formant_provider.api.errors import InvalidInput

    if "suppress" in given.missing:
        raise InvalidInput(
            "suppress",
            "is None: the task that should give it was skipped, or returned nothing. Nobody is called"
            " without it; leave it out of the DAG file if there is no such list",
        )


def suppression(
    recipient: str, suppress: object, given: Given, default_country: str | None
) -> Callable[[], None]:
    """Return what refuses to call somebody who must not be called.

    It reads the list the first time that it is asked, since a call that was placed has no need of it. It
    raises ``CallNotAllowed`` when the number is on the list, and ``InvalidInput`` when that is unknown.
    """
    from formant_provider.api.errors import CallNotAllowed

    @cache
    def is_listed() -> bool:
        refuse_lost_list(given)
        numbers = reveal(suppress)
        return numbers is not None and int(recipient) in _read(numbers, default_country)

    def refuse() -> None:
        if is_listed():
            raise CallNotAllowed("The number is on the do-not-call list", reason="suppressed")

    return refuse


def _read(suppress: object, default_country: str | None) -> set[int]:
    from formant_provider.core.contacts.do_not_call import read_do_not_call
    from formant_provider.core.numbers.bulk import NumberReader

    with opened_numbers(suppress) as entries:
        # Nobody is called because a numbering plan has changed since they asked not to be.
        numbers = read_do_not_call(entries, NumberReader(default_country, renumber=True))
    log.info("Numbers on the do-not-call list: %s.", len(numbers))
    return numbers

"""Turns the contacts of a batch call, from any source, into the one clean file that is uploaded.

Nothing is sent from here. Two other files are written beside it: the contacts that cannot be called, and a
list of all rows, which the report at the end is made of.
"""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from formant_provider.core.contacts.row_list import NOTHING_CARRIED, CarriedColumns
from formant_provider.tasks.batches.outputs import refuse_taken
from formant_provider.tasks.contact_rules import PHONE_COLUMN, ContactRules
from formant_provider.tasks.do_not_call import opened_numbers
from formant_provider.tasks.storage.uris import in_words

if TYPE_CHECKING:
    from formant_provider.core.contacts.cells import Forgiving
    from formant_provider.core.contacts.people import People
    from formant_provider.core.contacts.report import ContactReport
    from formant_provider.core.contacts.sources import Contacts
    from formant_provider.core.hours.openings import Openings

log = logging.getLogger(__name__)


@dataclass
class ContactFiles:
    """The contacts of one batch call.

    :param folder: on this machine, for as long as the task runs; it holds what is private.
    :param recipients_uri: the list of rows, for the report; ``None`` writes none.
    :param carried: columns that are kept in that list.
    :param marker: the marker of the batch call, which identifies that list.
    :param keeps_rows: whether the list of rows is written on this machine in any case.
    :param forgiving: how values are read of which a bad one stops no other row; ``None``: it stops all.
    :ivar people: is asked who may be called besides; ``None`` without a call store.
    :ivar openings: the calling hours at the moment of the upload; ``None`` means any hour.
    :ivar report: what was found, once the contacts were read.
    """

    folder: Path
    contacts: Any
    suppress: Any
    rules: ContactRules
    rejects_uri: str | None = None
    recipients_uri: str | None = None
    carried: CarriedColumns = NOTHING_CARRIED
    marker: str = ""
    keeps_rows: bool = False
    forgiving: Forgiving | None = None
    on_closed: str = "fail"
    on_capped: str = "skip"
    people: People | None = field(default=None, init=False)
    openings: Openings | None = field(default=None, init=False)
    report: ContactReport | None = field(default=None, init=False)

    def write(self) -> Path:
        """Write the clean file, and the two beside it; return its path.

        :raises CallNotAllowed: the calling hours are closed, or nobody is left to be called and the user
            chose to skip then.
        """
        if self.recipients_uri:
            refuse_taken(self.recipients_uri, self.marker)
        report = self.read()
        self._refuse_closed(report)
        self._refuse_capped(report)
        if not report.accepted:
            self.end_empty(report)
        if self.recipients_uri:
            _publish("results_uri", self.recipients_uri, self.row_list)
        return self.clean

    def read(self) -> ContactReport:
        """Write the clean file, and the contacts that cannot be called; return what was found."""
        try:
            self.report = self._clean(self.clean, self.rejects)
        finally:
            self._publish_rejects(self.rejects)
        self._log(self.report)
        return self.report

    @property
    def clean(self) -> Path:
        """The contacts that can be called."""
        return self.folder / "contacts.csv"

    @property
    def rejects(self) -> Path:
        """The others, each with the reason."""
        return self.folder / "rejects.csv"

    @property
    def row_list(self) -> Path:
        """The list of all rows."""
        return self.folder / "rows.jsonl"

    def _clean(self, clean: Path, rejects: Path) -> ContactReport:
        from formant_provider.core.contacts.cleaning import clean_contacts
        from formant_provider.core.contacts.row_list import owner_line

        rules = self.rules
        with (
            clean.open("wb") as sink,
            rejects.open("wb") as other,
            self.row_list.open("wb") if self.recipients_uri or self.keeps_rows else nullcontext() as row_list,
            self._open_contacts() as contacts,
            self._open_suppress() as suppress,
        ):
            if self.recipients_uri and row_list is not None:
                row_list.write(owner_line(self.marker))
            report = clean_contacts(
                contacts,
                sink,
                rejects=other,
                row_list=row_list,
                carried=self.carried,
                required_variables=rules.required_variables,
                default_country=rules.default_country,
                numbers=rules.numbers,
                renumber=rules.renumber,
                suppress=suppress,
                invalid_rows=rules.invalid_rows,
                max_rejected_rate=rules.max_rejected_rate,
                openings=self.openings,
                people=self.people,
                phone_column=rules.phone_column,
            )
            _warn_of_numeric_cells(contacts.phone_cells.as_numbers)
            return report

    def _refuse_closed(self, report: ContactReport) -> None:
        from formant_provider.api.errors import CallNotAllowed
        from formant_provider.core.hours.openings import in_words

        if self.openings is None or not report.closed:
            return
        until = in_words(self.openings.closed)
        text = f"calling_window is closed now for {report.closed} of {report.total} contacts: {until}"
        if self.on_closed == "fail":
            raise CallNotAllowed(text, skips=False, reason="closed")
        if not report.accepted:
            raise CallNotAllowed(f"{text}. Nobody is left to be called", reason="closed")
        log.warning("%s. They are left out.", text)

    def _refuse_capped(self, report: ContactReport) -> None:
        from formant_provider.api.errors import CallNotAllowed

        if not report.capped:
            return
        text = f"{report.capped} of {report.total} contacts are called as often as call_cap allows"
        if self.on_capped == "fail":
            raise CallNotAllowed(text, skips=False, reason="capped")
        if not report.accepted:
            raise CallNotAllowed(f"{text}. Nobody is left to be called", reason="capped")
        log.warning("%s. They are left out.", text)

    def end_empty(self, report: ContactReport) -> None:
        """End a task that has nobody to call, as its user chose.

        :raises CallNotAllowed: it is skipped.
        :raises InvalidContacts: it fails.
        """
        from formant_provider.api.errors import CallNotAllowed
        from formant_provider.core.contacts.cleaning import invalid_contacts

        if self.rules.on_empty == "skip":
            raise CallNotAllowed("Nobody is left to be called", reason="nobody_left")
        raise invalid_contacts(report, 'nobody is left to be called; to allow that, say on_empty="skip"')

    @contextmanager
    def _open_contacts(self) -> Iterator[Contacts]:
        from formant_provider.api.errors import InvalidInput
        from formant_provider.core.contacts.sources import contacts_of, opened_contacts
        from formant_provider.tasks.storage.files import is_table, names_files, parts_of

        rules = self.rules
        if names_files(self.contacts):
            parts = parts_of("contacts", self.contacts)
            chosen: Any = {"numbers": rules.numbers, "forgiving": self.forgiving}
            with opened_contacts(parts, rules.form, **chosen) as contacts:
                yield contacts
        elif is_table(self.contacts) and not isinstance(self.contacts, Mapping):
            yield contacts_of(
                self.contacts,
                numbers=rules.numbers,
                phone_column=rules.phone_column,
                forgiving=self.forgiving,
            )
        else:
            raise InvalidInput(
                "contacts", "must be a URI, an absolute path, a list of mappings or a data frame"
            )

    @contextmanager
    def _open_suppress(self) -> Iterator[Iterable[object] | None]:
        if self.suppress is None:
            yield None
        else:
            with opened_numbers(self.suppress, self.rules.form) as numbers:
                yield numbers

    def _publish_rejects(self, rejects: Path) -> None:
        with rejects.open("rb") as file:
            has_rows = sum(1 for _ in zip(file, range(2), strict=False)) > 1
        if has_rows and self.rejects_uri:
            uri = _publish("rejects_uri", self.rejects_uri, rejects)
            log.warning("The contacts that cannot be called are in %s, each with the reason.", in_words(uri))

    def _log(self, report: ContactReport) -> None:
        if report.do_not_call is not None:
            log.info("Numbers on the do-not-call list: %s.", report.do_not_call)
        log.info(
            "%s of %s contacts can be called, according to phonenumbers %s.",
            report.accepted,
            report.total,
            report.phonenumbers,
        )
        if report.completed:
            log.info(
                "%s numbers had no country code, and are read as numbers of default_country, %s.",
                report.completed,
                self.rules.default_country,
            )
        if report.round_numbers:
            log.warning(
                "%s numbers end in six or more zeros. If the list was in a spreadsheet, their last digits"
                " may be lost: check them.",
                report.round_numbers,
            )
        if report.two_readings:
            log.warning("%s numbers can be read as two phones, and are not called.", report.two_readings)
        if report.rejected:
            log.warning("%s.", report.summary())


def read_numbers(clean: Path) -> Iterator[str]:
    """Yield the numbers of a clean file, E.164."""
    with clean.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        place = next(rows).index(PHONE_COLUMN)
        for row in rows:
            yield row[place]


def _warn_of_numeric_cells(count: int) -> None:
    if count:
        log.warning(
            "Phone numbers that are stored as numbers, not as text: %s. Their plus signs and leading zeros"
            " are lost. Store them as text where the list is made.",
            count,
        )


def _publish(field: str, uri: str, path: Path) -> str:
    """Copy a file to its place, whole or not at all."""
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.hooks.storage.writing import write_file

    folder, name = to_file(field, uri)

    def fill(sink: IO[bytes]) -> str:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sink)
        return name

    return write_file(folder, fill).uri

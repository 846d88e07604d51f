"""A campaign's contacts, from wherever they are to the one clean file that is uploaded.

Nothing is sent from here. Beside the clean file two others are written: the contacts that cannot be called,
and, for the report at the end, the numbers of those that can.
"""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import AirflowSkipException

from formant_provider.do_not_call import opened_numbers
from formant_provider.options import one_of

if TYPE_CHECKING:
    from formant_provider.api.contact_report import ContactReport
    from formant_provider.api.contact_sources import Contacts
    from formant_provider.api.file_kinds import FileForm

log = logging.getLogger(__name__)

InvalidRows = Literal["fail", "reject"]
Numbers = Literal["national", "e164_without_plus"]
PHONE_COLUMN = "customer_phone"


@dataclass(frozen=True)
class ContactRules:
    """What a user asks of contacts, checked when the DAG file is parsed.

    :param delimiter: between the cells of a CSV file.
    :param default_region: where numbers without a country code are from; ``None`` takes E.164 alone.
    :param required_variables: columns that must not be blank.
    :param invalid_rows: what becomes of the batch call when some contacts cannot be called.
    :param numbers: what digits without a plus sign are; ``None`` refuses those that could be either.
    :param sheet: the name of the sheet of a workbook; ``None`` takes the first that is not hidden.
    :param phone_column: the name that the column of numbers has in the contacts.
    :raises ValueError: for what cannot be meant.
    """

    delimiter: str
    default_region: str | None
    required_variables: Sequence[str]
    invalid_rows: InvalidRows
    numbers: Numbers | None = None
    sheet: str | None = None
    phone_column: str = "customer_phone"

    def __post_init__(self) -> None:
        one_of("invalid_rows", self.invalid_rows, get_args(InvalidRows))
        if self.numbers is not None:
            one_of("numbers", self.numbers, get_args(Numbers))
        if self.numbers == "national" and self.default_region is None:
            raise ValueError('numbers="national" needs default_region, which says where they are from')
        if not isinstance(self.delimiter, str) or len(self.delimiter) != 1:
            raise ValueError(f"delimiter must be one character; not {self.delimiter!r}")
        if isinstance(self.required_variables, str):
            raise ValueError("required_variables must be a list of names, not one text")
        if self.sheet is not None and not (isinstance(self.sheet, str) and self.sheet):
            raise ValueError(f"sheet must be the name of a sheet, or None for the first; not {self.sheet!r}")
        if (
            not isinstance(self.phone_column, str)
            or self.phone_column != self.phone_column.strip()
            or not self.phone_column
        ):
            raise ValueError(f"phone_column must be the name of a column; not {self.phone_column!r}")

    @property
    def form(self) -> FileForm:
        """How the files are written."""
        from formant_provider.api.file_kinds import FileForm

        return FileForm(self.delimiter, self.sheet, self.phone_column)


@dataclass
class ContactFiles:
    """The contacts of one campaign.

    :param folder: on this machine, for as long as the task runs; it holds what is private.
    :param contacts: a URI or an absolute path, of a file, a folder or a pattern; or a list of mappings or
        a data frame.
    :param suppress: numbers that must not be called, in the same forms; ``None`` means none.
    :param rejects_uri: where contacts go that cannot be called; ``None`` keeps them nowhere.
    :param recipients_uri: where the numbers of those go that can, for the report; ``None``: there is none.
    :ivar report: what was found, once the contacts were read.
    """

    folder: Path
    contacts: Any
    suppress: Any
    rules: ContactRules
    rejects_uri: str | None = None
    recipients_uri: str | None = None
    report: ContactReport | None = field(default=None, init=False)

    def write(self) -> Path:
        """Write the clean file, and the two beside it.

        :return: its path.
        :raises InvalidInput: the contacts cannot be read, or some cannot be called and that is not wanted.
        :raises AirflowSkipException: nobody is left to be called.
        """
        clean, rejects = self.folder / "contacts.csv", self.folder / "rejects.csv"
        try:
            self.report = self._clean(clean, rejects)
        finally:
            self._hand_over_rejects(rejects)
        self._tell(self.report)
        if not self.report.accepted:
            raise AirflowSkipException("Nobody is left to be called, so no batch call is placed")
        if self.recipients_uri:
            _publish("results_uri", self.recipients_uri, self._write_recipients(clean))
        return clean

    def _clean(self, clean: Path, rejects: Path) -> ContactReport:
        from formant_provider.api.contacts import clean_contacts

        rules = self.rules
        with (
            clean.open("wb") as sink,
            rejects.open("wb") as other,
            self._opened() as contacts,
            self._listed() as suppress,
        ):
            report = clean_contacts(
                contacts,
                sink,
                rejects=other,
                required_variables=rules.required_variables,
                default_region=rules.default_region,
                numbers=rules.numbers,
                suppress=suppress,
                invalid_rows=rules.invalid_rows,
            )
            _tell_of_numbers(contacts.phone_cells.as_numbers)
            return report

    @contextmanager
    def _opened(self) -> Iterator[Contacts]:
        from formant_provider.api.contact_sources import contacts_of
        from formant_provider.api.errors import InvalidInput
        from formant_provider.api.part_sources import opened_contacts
        from formant_provider.file_parts import is_table, names_files, parts_of

        rules = self.rules
        if names_files(self.contacts):
            parts = parts_of("contacts", self.contacts)
            with opened_contacts(parts, rules.form, numbers=rules.numbers) as contacts:
                yield contacts
        elif is_table(self.contacts) and not isinstance(self.contacts, Mapping):
            yield contacts_of(self.contacts, numbers=rules.numbers, phone_column=rules.phone_column)
        else:
            raise InvalidInput(
                "contacts", "must be a URI, an absolute path, a list of mappings or a data frame"
            )

    @contextmanager
    def _listed(self) -> Iterator[Iterable[object] | None]:
        if self.suppress is None:
            yield None
        else:
            with opened_numbers(self.suppress, self.rules.form) as numbers:
                yield numbers

    def _hand_over_rejects(self, rejects: Path) -> None:
        with rejects.open("rb") as file:
            has_rows = sum(1 for _ in zip(file, range(2), strict=False)) > 1
        if has_rows and self.rejects_uri:
            uri = _publish("rejects_uri", self.rejects_uri, rejects)
            log.warning("The contacts that cannot be called, and why, are in %s.", uri)

    def _write_recipients(self, clean: Path) -> Path:
        numbers = self.folder / "recipients.txt"
        with clean.open(newline="", encoding="utf-8") as file, numbers.open("w", encoding="utf-8") as sink:
            rows = csv.reader(file)
            place = next(rows).index(PHONE_COLUMN)
            sink.writelines(f"{row[place]}\n" for row in rows)
        return numbers

    def _tell(self, report: ContactReport) -> None:
        if report.do_not_call is not None:
            log.info("The do-not-call list has %s numbers.", report.do_not_call)
        log.info("%s of %s contacts can be called.", report.accepted, report.total)
        if report.rejected:
            log.warning("%s.", report.summary())
        if report.formulas:
            cells = ", ".join(str(problem) for problem in report.formula_examples)
            log.warning("%s cells look like formulas, and are sent as they are: %s.", report.formulas, cells)


def _tell_of_numbers(count: int) -> None:
    if count:
        log.warning(
            "Phone numbers that are stored as numbers, not as text: %s. Their plus signs and leading zeros"
            " are gone. Store them as text where the list is made.",
            count,
        )


def _publish(field: str, uri: str, path: Path) -> str:
    """Copy a file to its place, whole or not at all."""
    from formant_provider.files import to_file, write_file

    folder, name = to_file(field, uri)

    def fill(sink: IO[bytes]) -> str:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sink)
        return name

    return write_file(folder, fill).uri

"""How contacts are read, and which of them are left out: as a user of a batch call or a list chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from formant_provider.tasks.options import country, flag, one_of, percent

if TYPE_CHECKING:
    from formant_provider.core.tables.file_kinds import FileForm

InvalidRows = Literal["fail", "reject"]
OnEmpty = Literal["fail", "skip"]
Numbers = Literal["national", "e164_without_plus"]
PHONE_COLUMN = "customer_phone"


@dataclass(frozen=True)
class ContactRules:
    """The options of contacts, which are documented at the operator, checked when the DAG file is parsed."""

    delimiter: str = ","
    sheet: str | None = None
    phone_column: str = PHONE_COLUMN
    default_country: str | None = None
    numbers: Numbers | None = None
    renumber: bool = False
    required_variables: Sequence[str] = ()
    invalid_rows: InvalidRows = "fail"
    max_rejected_rate: float | None = None
    on_empty: OnEmpty = "fail"

    def __post_init__(self) -> None:
        one_of("invalid_rows", self.invalid_rows, get_args(InvalidRows))
        percent("max_rejected_rate", self.max_rejected_rate)
        one_of("on_empty", self.on_empty, get_args(OnEmpty))
        if self.numbers is not None:
            one_of("numbers", self.numbers, get_args(Numbers))
        country("default_country", self.default_country)
        flag("renumber", self.renumber)
        if self.numbers == "national" and self.default_country is None:
            raise ValueError('numbers="national" needs default_country, which says where they are from')
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
        from formant_provider.core.tables.file_kinds import FileForm

        return FileForm(self.delimiter, self.sheet, self.phone_column)

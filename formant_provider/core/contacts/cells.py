"""Writes values as the text of cells, and says what is wrong with those that cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.numbers.reading import Numbers
from formant_provider.core.tables.headers import is_text
from formant_provider.core.validation import to_metadata
from formant_provider.core.values import as_text, is_missing, phone_text


class UnreadableRow(list[str]):
    """Stands for a row with a value that cannot be written as text; it has no cells.

    :ivar column: that holds the value; ``None`` if the row is none at all.
    :ivar fault: what is wrong with it, without the value.
    """

    def __init__(self, column: str | None, fault: str) -> None:
        super().__init__()
        self.column, self.fault = column, fault


@dataclass(frozen=True)
class Forgiving:
    """How values are read where a bad one keeps its own row alone from being called.

    :param json_columns: columns in which a mapping is written as JSON.
    """

    json_columns: frozenset[str] = frozenset()


@dataclass
class PhoneCells:
    """What is counted of the cells with numbers while they are read."""

    as_numbers: int = 0


class CellWriter:
    """Writes values as text, by the columns they are in."""

    def __init__(
        self,
        columns: Sequence[str],
        numbers: Numbers | None,
        cells: PhoneCells,
        forgiving: Forgiving | None,
    ) -> None:
        self._columns, self._digits_are_told, self._cells = columns, numbers is not None, cells
        self._is_forgiving = forgiving is not None
        self._json_columns = forgiving.json_columns if forgiving else frozenset()

    def texts(self, row: int, values: Sequence[Any]) -> list[str]:
        """Return the cells of a row."""
        if isinstance(values, UnreadableRow):
            return values
        texts: list[str] = []
        for name, value in zip(self._columns, values, strict=True):
            text, fault = self._text(name, value)
            if fault is None:
                texts.append(text)
            elif self._is_forgiving:
                return UnreadableRow(name, fault)
            else:
                raise InvalidInput("contacts", f"row {row}, column {name}: {fault}")
        return texts

    def _text(self, column: str, value: Any) -> tuple[str, str | None]:
        """Return a value as text, and what is wrong with it, if anything is."""
        if type(value) is not str and is_missing(value):  # as in queries and data frames
            return "", None
        try:
            text = self._written(column, value)
        except InvalidInput as error:
            return "", error.reason
        return text, None if is_text(text) else "holds a NUL, or half of a character"

    def _written(self, column: str, value: Any) -> str:
        if column == PHONE_PARAMETER:
            return self._phone(value)
        if column in self._json_columns and isinstance(value, Mapping):
            return to_metadata(value) or ""
        return as_text(column, value)

    def _phone(self, value: Any) -> str:
        self._cells.as_numbers += not isinstance(value, str)
        return phone_text(value, digits_are_told=self._digits_are_told)

"""Which columns of the contacts may be carried to a file of results? Checked when a DAG file is parsed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from formant_provider.core.contacts.row_list import CarriedColumns

# The column of the numbers in a file of results.
RECIPIENT = "customer_phone"


def check_carried(reference: str | None, names: Sequence[str], reserved: Collection[str], file: str) -> None:
    """Refuse columns that cannot be carried.

    :param reference: what the user gives as ``reference_column``.
    :param names: what the user gives as ``keep_columns``.
    :param reserved: names of columns that the file itself has.
    :param file: what the user calls the file.
    :raises ValueError: with the name of the option.
    """
    if reference is not None and not (isinstance(reference, str) and reference.strip()):
        raise ValueError(f"reference_column must be the name of a column, or None; not {reference!r}")
    if reference == RECIPIENT:
        raise ValueError(f"reference_column cannot be {RECIPIENT}: recipients says how it is shown")
    if isinstance(names, str) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError("keep_columns must be a list of names of columns")
    if len(set(names)) < len(names):
        raise ValueError("keep_columns names a column twice")
    if taken := sorted(set(reserved) & set(names)):
        raise ValueError(
            f"keep_columns cannot name {', '.join(taken)}: {file} has a column of that name. Rename"
            " it in the contacts, or make one of them the reference_column"
        )


def refuse_phone_column(carried: CarriedColumns, phone_column: str, file: str) -> None:
    """Refuse to carry the numbers a second time, and unmasked.

    :param phone_column: the column of the contacts that holds the numbers.
    :param file: what the user calls the file.
    """
    asked = {"reference_column": [carried.reference_column], "keep_columns": carried.keep_columns}
    for field, names in asked.items():
        if phone_column in names:
            raise ValueError(
                f"{field} cannot name {phone_column}, which phone_column says holds the numbers: {file} has"
                f" them as {RECIPIENT}, and recipients says how they are shown"
            )

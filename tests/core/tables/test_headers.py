"""The column of numbers may have another name, which an error suggests and never guesses."""

from __future__ import annotations

import pytest

from formant_provider.core.tables.headers import contact_columns, phone_place
from support.refusals import refusal


def test_a_column_of_another_name_becomes_customer_phone() -> None:
    """Its place stays, and so do the other columns; what is around the name is no part of it."""
    assert contact_columns(["id", "\ufeff Phone "], "Phone") == ("id", "customer_phone")
    assert contact_columns(["customer_phone", "Phone"], "customer_phone") == ("customer_phone", "Phone")


def test_two_columns_of_numbers_are_refused() -> None:
    """Which of them is called would be a guess."""
    told = refusal(lambda: contact_columns(["customer_phone", "mobile"], "mobile"))
    assert "has a column customer_phone besides" in told
    assert "several columns" in refusal(
        lambda: phone_place(["customer_phone", "mobile"], "mobile"), "suppress"
    )


@pytest.mark.parametrize(
    "name",
    ["phone", "Phone", "Customer_Phone", "PHONE_NUMBER", "Phone Number", "phone-no", "mobile", "Mobile No.",
     "msisdn", "Telefonnummer", "Handy-Nummer", "whatsapp_number", "Contact Number", "E164", "tel"],
)  # fmt: skip
def test_a_usual_name_is_suggested(name: str) -> None:
    """Also where it has blanks, and beside other columns whose names may be private."""
    told = refusal(lambda: contact_columns(["Rahul Sharma", name], "customer_phone"))
    assert f"if column {name!r} holds the numbers, say phone_column={name!r}" in told
    assert "Rahul" not in told
    assert "its columns are a, b_c; if column" not in refusal(
        lambda: contact_columns(["a", "b_c"], "customer_phone")
    )


@pytest.mark.parametrize(
    "name", ["Rahul", "+14155550100", "4155550100", "Phoenix", "Celia", "Tela", "Home", "", "1", "-"]
)
def test_what_may_be_a_person_is_not_suggested(name: str) -> None:
    """The first row of a file without a header is somebody."""
    told = refusal(lambda: contact_columns([name, "x y"], "customer_phone"))
    assert "phone_column=" not in told
    assert name in {"", "-"} or name not in told


def test_a_named_column_that_is_not_there_is_named() -> None:
    """It is in the DAG file, and no secret."""
    told = refusal(lambda: contact_columns(["id", "phone"], "Phone"))
    assert told.startswith("has no column Phone; its columns are id, phone; if column 'phone' holds")


def test_a_contact_in_place_of_a_header_is_not_shown() -> None:
    """A blank cell is a contact's, and then the words beside it are a name."""
    told = refusal(lambda: contact_columns(["", "John", "Smith"], "customer_phone"))
    assert "John" not in told
    assert "or no header at all" in told


def test_the_index_of_a_data_frame_is_told_with_its_remedy() -> None:
    """What pandas writes in front by default has no name."""
    told = refusal(lambda: contact_columns(["", "customer_phone"], "customer_phone"))
    assert told == "column 1 has no name; a data frame writes its index so: leave it out with index=False"


def test_a_list_has_the_column_of_the_contacts_or_its_usual_one() -> None:
    """Whichever is there."""
    assert phone_place(["id", "Phone"], "Phone") == 1
    assert phone_place(["customer_phone", "id"], "Phone") == 0
    assert phone_place(["id", "Phone"], "customer_phone") is None

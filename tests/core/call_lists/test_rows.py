"""From rows to calls: which column is what, and what is wrong with a row is said of that row alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.core.call_lists.columns import Columns
from formant_provider.core.call_lists.rows import Row, RowReader, Wanted
from formant_provider.core.keys import key_for_list_name
from support.list_rows import AGENT, number

NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
NUMBER = number(100)
NAMES = ("customer_phone", "reference", "agent_id", "scheduled_for", "idempotency_key", "metadata", "name")


def reader(names: Sequence[str] = NAMES, agent: int | None = AGENT, **options: Any) -> RowReader:
    columns = Columns(names, options.pop("chosen", {}), options.pop("kept", ()))
    agent_for = None if agent is None else (lambda _: agent)
    return RowReader(columns, agent_for, lambda recipient: f"of {recipient}", NOW, **options)


def row(cells: Mapping[str, str], names: Sequence[str] = NAMES) -> Row:
    every = {"customer_phone": NUMBER, **cells}
    return Row(1, None, every["customer_phone"], None, None, [every.get(name, "") for name in names])


def wanted(**cells: str) -> Wanted:
    return reader().wanted(row(cells))


def test_a_row_says_what_is_asked_for() -> None:
    """Its roles are read, and every other column is a parameter, the number among them."""
    asked = wanted(
        reference="r", agent_id="789", scheduled_for="2026-03-19T10:00:00+05:30", metadata="m", name="Ann"
    )
    assert asked.agent_id == 789
    assert asked.asked == datetime(2026, 3, 19, 4, 30, tzinfo=UTC)
    assert asked.metadata == "m"
    assert asked.parameters == (("customer_phone", NUMBER), ("name", "Ann"))


def test_blank_cells_of_roles_are_not_given() -> None:
    """A column may be filled for some rows; blanks around a value are none of it."""
    asked = wanted(agent_id="  ", scheduled_for=" ", idempotency_key=" ", metadata=" ", name=" Ann ")
    assert (asked.agent_id, asked.asked, asked.metadata, asked.has_own_name) == (AGENT, None, None, False)
    assert asked.parameters[1] == ("name", " Ann "), "what the agent is told is as it was written"


def test_the_agent_is_told_the_number_in_e164() -> None:
    """However the row has written it."""
    cells = ["(415) 555-0100", *[""] * 6]
    asked = reader().wanted(Row(1, None, NUMBER, None, None, cells))
    assert asked.parameters[0] == ("customer_phone", NUMBER)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent_id", "four"),
        ("agent_id", "-5"),
        ("agent_id", "4.5"),
        ("scheduled_for", "tomorrow"),
        ("scheduled_for", "2026-03-19T10:00:00"),
    ],
)
def test_a_bad_cell_is_named_by_its_column_and_not_shown(field: str, value: str) -> None:
    """It makes its own row no call."""
    with pytest.raises(InvalidInput) as caught:
        wanted(**{field: value})
    assert caught.value.field == field
    assert value not in str(caught.value)


def test_a_list_without_an_agent_needs_a_column() -> None:
    """That is known before any row is read."""
    with pytest.raises(InvalidInput, match="agent_id"):
        reader(("customer_phone", "name"), agent=None)
    assert reader(agent=None).wanted(row({"agent_id": "789"})).agent_id == 789


def test_a_blank_agent_where_each_row_names_its_own_is_a_bad_cell() -> None:
    """Nobody is called by an agent that was not chosen."""
    with pytest.raises(InvalidInput, match="agent_id: is blank"):
        reader(agent=None).wanted(row({}))


def test_a_row_without_a_name_goes_by_its_person() -> None:
    """Whichever agent calls: a changed agent is no second call."""
    assert wanted().key == wanted(agent_id="789").key == f"of {NUMBER}"


def test_a_row_with_a_name_has_the_same_key_whichever_agent_calls() -> None:
    """A name is one call of all lists; an agent that is corrected does not make a second one of it."""
    keys = {wanted(idempotency_key="loan 7", agent_id=agent).key for agent in ("789", "456", "")}
    assert keys == {key_for_list_name(name="loan 7", recipient=NUMBER)}
    assert wanted(idempotency_key="loan 7").has_own_name
    assert not wanted().has_own_name


def test_a_role_may_have_a_column_of_another_name() -> None:
    """Then the column is no parameter, and one of the usual name is."""
    names = ("customer_phone", "loan", "reference")
    of_loans = reader(names, chosen={"reference": "loan"})
    loan = row({"loan": "L-7", "reference": "said to the agent"}, names)
    assert of_loans.reference_of(loan) == "L-7"
    assert dict(of_loans.wanted(loan).parameters) == {
        "customer_phone": NUMBER,
        "reference": "said to the agent",
    }


def test_a_role_that_is_switched_off_makes_its_column_a_parameter() -> None:
    """``None`` as a name."""
    off = reader(chosen={"metadata": None})
    asked = off.wanted(row({"metadata": "told"}))
    assert asked.metadata is None
    assert ("metadata", "told") in asked.parameters


@pytest.mark.parametrize("written", ["Agent ID", "agent-id", " AGENT_ID "])
def test_a_column_that_is_called_as_a_role_but_for_its_writing_is_asked_about(written: str) -> None:
    """It would be told to the agent, and the list would call with another one."""
    names = ("customer_phone", written)
    with pytest.raises(InvalidInput, match="say what it is"):
        reader(names)
    assert reader(names, chosen={"agent_id": written}).columns.roles == {"agent_id": 1}
    assert reader(names, chosen={"agent_id": None}).columns.parameters[1] == (written, 1)


def test_an_integer_that_became_a_float_beside_a_blank_is_that_integer() -> None:
    """As data frames have it."""
    assert wanted(agent_id="789.0").agent_id == 789


@pytest.mark.parametrize(
    "options", [{"chosen": {"reference": "loan_id"}}, {"kept": ["loan_id"]}], ids=["columns", "keep_columns"]
)
def test_a_column_that_is_not_there_is_named(options: dict[str, Any]) -> None:
    """Before anybody is called."""
    with pytest.raises(InvalidInput, match="loan_id"):
        reader(**options)


def test_what_looks_like_no_name_of_a_column_is_not_shown() -> None:
    """A number in the place of a name would be in an error."""
    with pytest.raises(InvalidInput) as caught:
        reader(chosen={"reference": NUMBER})
    assert NUMBER not in str(caught.value)


def test_kept_columns_are_kept_beside_what_they_are() -> None:
    """A parameter that is kept is told to the agent as well."""
    columns = Columns(NAMES, {}, ("name", "reference"))
    cells = [NUMBER, "r", "", "", "", "", "Ann"]
    assert columns.kept_of(cells) == {"name": "Ann", "reference": "r"}
    assert ("name", 6) in columns.parameters


def test_a_row_whose_cells_nobody_can_tell_apart_has_no_reference() -> None:
    """It has more or fewer cells than there are columns."""
    assert reader().reference_of(Row(1, None, None, "wrong_width", None, None)) is None
    assert reader().reference_of(row({"reference": " "})) is None

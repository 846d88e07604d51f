"""Checks what a DAG file says outright of a call or a batch call, when the file is parsed.

A template, the output of a task and a function are known when the task runs, and checked then. So is all that
takes the library of phone numbers: here a number is only held against the form of E.164.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeGuard

# What templates begin with; delimiters of one's own are made of the same.
_TEMPLATE_MARKS = frozenset("{[<%$#")


def check_literals(fields: Mapping[str, Any]) -> None:
    """Refuse fields of a call that are invalid whatever the templates will render to.

    :param fields: as the DAG file gives them; what is left out is not checked.
    :raises ValueError: with the name of the field, and without its value if it may be private.
    """
    from formant_provider.api.config import REGIONS
    from formant_provider.core.validation import to_agent_id, to_moment

    agent_id, region, moment = (fields.get(name) for name in ("agent_id", "region", "scheduled_for"))
    if isinstance(agent_id, bool | int | float) or _is_text(agent_id):
        to_agent_id(agent_id)
    if _is_text(region) and region not in REGIONS:
        raise ValueError(f"region must be one of {', '.join(REGIONS)}, or None; not {region!r}")
    if isinstance(moment, datetime) or _is_text(moment):
        to_moment("scheduled_for", moment)
    _check_parameters(fields.get("parameters"), fields.get("default_country"))


def _check_parameters(parameters: object, default_country: object) -> None:
    from formant_provider.api.errors import InvalidInput
    from formant_provider.core.numbers.recipient import E164
    from formant_provider.core.validation import NOT_E164, refuse_rows
    from formant_provider.tasks.references import recipient_in

    if isinstance(parameters, list | tuple):
        refuse_rows(parameters)
    elif not isinstance(parameters, Mapping):
        return
    number = recipient_in(parameters)
    if isinstance(number, int | float) or (
        default_country is None and _is_text(number) and not E164.fullmatch(number)
    ):
        raise InvalidInput("parameters.customer_phone", f"{NOT_E164}. Other writing needs default_country")


def _is_text(value: object) -> TypeGuard[str]:
    """Tell whether a value is text, and no template."""
    return isinstance(value, str) and not _TEMPLATE_MARKS & set(value)

"""Checks the options of operators when a DAG file is parsed, where a mistake costs nothing.

Each check raises ``ValueError`` with the name of the option and what it must be.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeGuard, TypeVar

Word = TypeVar("Word", bound=str)

# Options that say how to wait, and mean nothing to a task that does not.
_OF_CALL_WAITING = (
    "redial_on",
    "poll_interval",
    "safety_poll_interval",
    "timeout",
    "on_timeout",
    "success_statuses",
    "terminal_statuses",
    "settle_for",
    "on_unsuccessful",
    "include_transcript",
)
_OF_BATCH_WAITING = ("poll_interval", "timeout", "on_timeout", "stall_timeout")
# What templates begin with; delimiters of one's own are made of the same.
_TEMPLATE_MARKS = frozenset("{[<%$#")


def country(name: str, value: str | None) -> str | None:
    """Return a country's two letters, or ``None``. Whether there is such a country shows at run time."""
    is_code = isinstance(value, str) and len(value) == 2 and value.isascii() and value.isalpha()
    if value is not None and not (is_code and value.isupper()):
        raise ValueError(
            f"{name} must be two capital letters of ISO 3166, such as US, or None; not {value!r}"
        )
    return value


def flag(name: str, value: bool) -> bool:
    """Return a switch. Text is refused: ``"False"`` would count as true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; not {value!r}")
    return value


def one_of(name: str, value: Word, choices: Collection[str]) -> Word:
    """Return the value if it is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; not {value!r}")
    return value


def some_of(name: str, values: Collection[str], choices: Collection[str]) -> tuple[str, ...]:
    """Return the values, each once, if there are any and all are among the choices."""
    if isinstance(values, str) or not values or not set(values) <= set(choices):
        raise ValueError(f"{name} must be a list with any of {', '.join(choices)}; not {values!r}")
    return tuple(dict.fromkeys(values))


def seconds(name: str, value: float | timedelta) -> float:
    """Return a time span in seconds, 0 or more."""
    span = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(span, bool) or not isinstance(span, int | float) or not 0 <= span < float("inf"):
        raise ValueError(f"{name} must be a number of seconds, 0 or more, or a timedelta; not {value!r}")
    return float(span)


def time_to_wait(name: str, value: float | timedelta) -> float:
    """Return a time span in seconds that is above 0."""
    span = seconds(name, value)
    if not span:
        raise ValueError(
            f"{name} must be above 0; to wait for nothing, leave out wait_for_completion, and to look once,"
            " use a sensor"
        )
    return span


def percent(name: str, value: float | None) -> float | None:
    """Return a rate in percent; ``None`` means none. One between 0 and 1 is meant as a fraction: refused."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value <= 100):
        raise ValueError(f"{name} must be in percent, from 0 to 100, or None; not {value!r}")
    if value is not None and 0 < value < 1:
        raise ValueError(f"{name} is in percent: write {100 * value:g} instead of {value!r}")
    return value


def refuse_idle(given: Container[str], names: Iterable[str], needs: str, *, met: object) -> None:
    """Refuse options that have no effect: who gives them expects something of them.

    :param needs: what to write for them to act.
    :param met: whether that is there.
    """
    idle = [] if met else [name for name in names if name in given]
    if idle:
        them = "it" if len(idle) == 1 else "them"
        raise ValueError(f"{', '.join(idle)} has no effect without {needs}: add that, or leave {them} out")


def is_template(value: str) -> bool:
    """Whether a text is rendered before the task runs, so that a DAG file cannot tell what it will be."""
    return "{{" in value or "{%" in value


def redial_outcomes(value: Collection[str]) -> frozenset[str]:
    """Return the outcomes after which to call again."""
    if not isinstance(value, str) and not value:  # what takes time to import is imported for a use alone
        return frozenset()
    from formant_provider.core.conversations.statuses import UNSUCCESSFUL

    if isinstance(value, str) or not set(value) <= UNSUCCESSFUL:
        raise ValueError(f"redial_on must be a set of {', '.join(sorted(UNSUCCESSFUL))}; not {value!r}")
    return frozenset(value)


def statuses(name: str, value: Collection[str]) -> frozenset[str]:
    """Return words that the status of a conversation may be."""
    is_set = isinstance(value, Collection) and not isinstance(value, str)
    if not is_set or not all(isinstance(word, str) and word.strip() for word in value):
        raise ValueError(f"{name} must be a set of statuses such as completed; not {value!r}")
    return frozenset(value)


def check_call_options(given: Container[str], options: Mapping[str, Any]) -> None:
    """Refuse options of a call that cannot act; ``given`` are those of the DAG file."""
    waits = flag("wait_for_completion", options["wait_for_completion"])
    refuse_idle(given, _OF_CALL_WAITING, "wait_for_completion=True", met=waits)
    refuse_idle(given, ["redial_on"], "retries, one for each further call", met=options["retries"])
    time_to_wait("timeout", options["timeout"])


def check_batch_options(given: Container[str], options: Mapping[str, Any]) -> None:
    """Refuse options of a batch call that cannot act; ``given`` are those of the DAG file."""
    waits = flag("wait_for_completion", options["wait_for_completion"])
    refuse_idle(given, _OF_BATCH_WAITING, "wait_for_completion=True", met=waits)
    has_rate = percent("min_success_rate", options["min_success_rate"]) is not None
    refuse_idle(given, ["on_below_threshold"], "min_success_rate", met=has_rate)
    leaves_out = options["invalid_rows"] == "reject"
    refuse_idle(given, ["max_rejected_rate"], 'invalid_rows="reject"', met=leaves_out)
    time_to_wait("timeout", options["timeout"])


def refuse_literals(task: Any) -> None:
    """Refuse literals that no template can make valid; a mapped row is checked when it runs."""
    if not getattr(task, "_BaseOperator__from_mapped", False):
        _check_literals_of(type(task), {name: getattr(task, name) for name in task.literal_fields})


def refuse_literals_of_all_rows(operator: type, options: Mapping[str, Any]) -> None:
    """Refuse what ``partial`` gives to all rows; the country of a number may come with each row."""
    _check_literals_of(operator, {**options, "default_country": options.get("default_country") or "any"})


def _check_literals_of(operator: Any, fields: Mapping[str, Any]) -> None:
    # A user's subclass may fill a field later, and take an argument for something else.
    if operator.__module__.startswith("formant_provider."):
        check_literals({name: fields.get(name) for name in operator.literal_fields})


def check_literals(fields: Mapping[str, Any]) -> None:
    """Refuse fields of a call that are invalid whatever the templates will render to.

    A template, the output of a task and a function are known when the task runs, and checked then. So is all
    that takes the library of phone numbers: here a number is only held against the form of E.164.

    :raises ValueError: with the name of the field, and without its value if it may be private.
    """
    from formant_provider.api.config import REGIONS
    from formant_provider.core.validation import to_agent_id, to_moment

    agent_id, region, moment = (fields.get(name) for name in ("agent_id", "region", "scheduled_for"))
    if isinstance(agent_id, bool | int | float) or _is_text(agent_id):
        to_agent_id(agent_id)
    if _is_text(region) and region and region not in REGIONS:
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

"""What a task leaves downstream, and in which form.

Every task leaves a result, also one that calls nobody: the results of a mapped task have no gaps, so who
counts places would take one row's for that of another. Nothing here can fail a task: a call that was placed
is placed, whatever becomes of its XComs.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException

from formant_provider.api.errors import CallNotAllowed, FormantError, InvalidInput, RequestRefused
from formant_provider.tasks.run import TaskRun

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowRescheduleException

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

# Under a key of its own Airflow takes an XCom that is None for one that is not there.
NOT_KNOWN = ""
# Where a task notes that it has left a result.
_LEFT = "_formant_result_left"
_DEEPEST = 60
_BIGGEST = 2**63
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def of_row(context: Context, reference: object) -> dict[str, Any]:
    """Return by what a result is told from those of other rows."""
    return {"reason": None, "map_index": TaskRun(context).map_index, "reference": reference}


def push(context: Context, key: str, value: Any) -> None:
    """Push an XCom, unless the task may push none. What hinders it is logged and fails nothing."""
    if not getattr(context["task"], "do_xcom_push", True):
        return
    try:
        context["ti"].xcom_push(key=key, value=value)
    except Exception as error:  # whatever Airflow or its XCom backend may raise
        log.warning("XCom %s could not be pushed (%s). The task continues.", key, type(error).__name__)


def push_apart(context: Context, result: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Push fields of a result on keys of their own, each so that a next task can read it."""
    for key in keys:
        push(context, key, NOT_KNOWN if result[key] is None else result[key])


def push_result(context: Context, result: Mapping[str, Any]) -> None:
    """Push a result now: Airflow keeps what a task returns only when it succeeds."""
    vars(context["task"])[_LEFT] = True
    push(context, "return_value", result)


@contextmanager
def a_result_in_any_case(
    context: Context,
    nothing: Callable[[], Mapping[str, Any]],
    became: Callable[[Exception], tuple[str | None, str]],
    *,
    apart: Sequence[str] = (),
) -> Iterator[None]:
    """Push a result before a task ends in an error, unless it has pushed one.

    :param nothing: returns the result without the status and reason that ``became`` returns of the error.
    :param apart: its fields that are pushed on keys of their own as well.
    """
    vars(context["task"])[_LEFT] = False
    try:
        yield
    except AirflowRescheduleException:  # it goes on
        raise
    except Exception as error:
        if not vars(context["task"])[_LEFT] and TaskRun(context).is_current():
            status, reason = became(error)
            result = {**nothing(), "status": status, "reason": reason}
            push_apart(context, result, apart)
            push_result(context, result)
        raise


def not_called(error: Exception, *, skipped: str) -> tuple[str, str]:
    """Return status and reason of a row that ends before its call is known to be placed."""
    cause = _ours(error)
    if cause is None:
        return ("skipped", skipped) if isinstance(error, AirflowSkipException) else ("not_placed", "error")
    if isinstance(cause, CallNotAllowed):
        return "skipped" if cause.skips else "refused", cause.reason
    if cause.maybe_placed:
        return "unconfirmed", in_a_word(cause)
    refused = isinstance(cause, InvalidInput | RequestRefused)
    return "refused" if refused else "not_placed", in_a_word(cause)


def no_outcome(error: Exception) -> tuple[None, str]:
    """Return status and reason of a wait that came to nothing: the call itself may go on."""
    cause = _ours(error)
    if cause is None and isinstance(error, AirflowSensorTimeout | AirflowSkipException):
        return None, "timeout"
    return None, "error" if cause is None else in_a_word(cause)


def _ours(error: BaseException | None) -> FormantError | None:
    """Return our error that another one of Airflow's stands for."""
    while error is not None and not isinstance(error, FormantError):
        error = error.__context__ if error.__suppress_context__ else error.__cause__
    return error


def in_a_word(error: Exception) -> str:
    """Return the name of an error as results have it, such as ``invalid_input``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


def storable(value: Any, depth: int = 0) -> Any:
    """Return a value of the API in a form that Airflow can store: what JSON and databases take, and text.

    A value that cannot be stored would fail the task when its call is over.
    """
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {_name(name): storable(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [storable(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -_BIGGEST <= value < _BIGGEST:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _UNSTORABLE.sub("\ufffd", value if isinstance(value, str) else _as_text(value))


def _name(name: object) -> str:
    """Return a name that means nothing to Airflow, whose own begin with two underscores."""
    text = _UNSTORABLE.sub("\ufffd", str(name))
    return f" {text}" if text.startswith("__") else text


def _as_text(value: object) -> str:
    try:
        return str(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, lists without end
        return f"<{type(value).__name__}>"

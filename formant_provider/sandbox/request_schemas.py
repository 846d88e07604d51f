"""Request bodies and queries as the vendor documents them, checked strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from formant_provider.sandbox.responses import invalid

MAX_SCHEDULE_AHEAD = timedelta(days=30)

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_RULES = {
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "string_type": "must be a string",
    "string_unicode": "must be a string",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "missing": "is required",
    "extra_forbidden": "is not a known field",
}


class Strict(BaseModel):
    """A JSON object with exactly the fields and types it names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class CallParameter(Strict):
    """One named string for the agent."""

    name: str
    value: str


class RetryContext(Strict):
    """State of an earlier attempt."""

    collected_data: dict[str, Any] | None = None
    retry_initial_message: str | None = None
    retry_language: str | None = None
    retry_stage_id: str | None = None


class CreateCall(Strict):
    """Body of POST /v1/call. The validation context holds the sandbox's time as ``now``."""

    agent_id: int
    parameters: list[CallParameter]
    conversation_id: str | None = None
    idempotency_key: str | None = None
    metadata: str | None = None
    # Absent or an object: the one optional field that the vendor's schema does not let be null.
    retry_context: RetryContext = Field(default_factory=RetryContext)
    scheduled_for: datetime | None = None

    @property
    def customer_phone(self) -> str:
        """The number of the recipient, E.164."""
        return next(parameter.value for parameter in self.parameters if parameter.name == "customer_phone")

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: list[CallParameter]) -> list[CallParameter]:
        values = {parameter.name: parameter.value for parameter in parameters}
        if "customer_phone" not in values:
            raise ValueError("customer_phone parameter is required")
        if len(values) < len(parameters):
            raise ValueError("parameters must not repeat a name")
        if not E164.fullmatch(values["customer_phone"]):
            raise ValueError("customer_phone must be an E.164 number")
        return parameters

    @field_validator("scheduled_for", mode="before")
    @classmethod
    def _check_schedule(cls, value: object, info: ValidationInfo) -> datetime | None:
        if value is None:
            return None
        moment = _read_date_time(value)
        now: datetime = info.context["now"] if info.context else moment
        if not now <= moment <= now + MAX_SCHEDULE_AHEAD:
            raise ValueError("scheduled_for must lie ahead, by 30 days at most")
        return moment


class ListQuery(Strict):
    """Query of the two lists."""

    agent_id: int | None = None
    limit: int = Field(default=20, ge=1, le=100)
    offset: int = Field(default=0, ge=0)


class Advance(Strict):
    """Body of POST /sandbox/advance."""

    seconds: float


class Inject(Strict):
    """Body of POST /sandbox/faults."""

    endpoint: str
    fault: str
    times: int = 1
    seconds: float | None = None
    retry_after: int | None = None


class AddWebhook(Strict):
    """Body of POST /sandbox/webhooks."""

    url: str
    secret: str | None = None
    old_secret: str | None = None
    agent_id: int | None = None
    events: list[str] | None = None
    include_transcript: bool = True


class InjectWebhook(Strict):
    """Body of POST /sandbox/webhook-faults."""

    fault: str
    times: int = 1
    seconds: float | None = None


S = TypeVar("S", bound=Strict)


def read_json(body: bytes) -> Any:
    """Parse a JSON body more strictly than Python would.

    :raises ValueError: not UTF-8, not JSON, a repeated name, a number or character that JSON does not allow.
    """
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant
        )
        # Writing it again finds what Python reads but JSON does not allow: 1e999, a lone surrogate.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    return value


def read_call(content_type: str, body: bytes, now: datetime) -> CreateCall:
    """Return the body of POST /v1/call.

    :raises ApiError: 400.
    """
    if media_type(content_type) != "application/json":
        raise invalid("Content-Type must be application/json")
    return read_body(CreateCall, body, {"now": now})


def media_type(content_type: str) -> str:
    """Return a Content-Type header without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def read_body(model: type[S], body: bytes, context: Mapping[str, Any] | None = None) -> S:
    """Return the body as ``model``.

    :raises ApiError: 400, with a message that names the field and never repeats a value.
    """
    try:
        value = read_json(body)
    except ValueError:
        raise invalid("body must be valid JSON") from None
    return _validated(model, value, context)


def new_call(
    agent_id: int, parameters: Mapping[str, str], scheduled_for: datetime | None, now: datetime
) -> CreateCall:
    """Return the body of a call that is placed from Python, checked like one that came over HTTP.

    :raises ValueError: it breaks one of the rules.
    """
    pairs = [{"name": name, "value": value} for name, value in parameters.items()]
    moment = scheduled_for.isoformat() if scheduled_for else None
    fields = {"agent_id": agent_id, "parameters": pairs, "scheduled_for": moment}
    return CreateCall.model_validate(fields, context={"now": now})


def read_list_query(pairs: Sequence[tuple[str, str]]) -> ListQuery:
    """Return the query of a list.

    :raises ApiError: 400; an unknown or repeated name, or a value that is not a decimal number in range.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        raise invalid("query parameters must not repeat a name")
    # Plain digits become a number; anything else stays text, which the model refuses.
    numbers = {
        name: int(text) if re.fullmatch(r"[0-9]{1,18}", text) else text for name, text in values.items()
    }
    return _validated(ListQuery, numbers)


def _validated(model: type[S], value: object, context: Mapping[str, Any] | None = None) -> S:
    try:
        return model.model_validate(value, context=dict(context) if context else None)
    except ValidationError as exc:
        raise invalid(_message(exc.errors(include_url=False, include_input=False)[0])) from None


def _message(problem: ErrorDetails) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in {"greater_than_equal", "less_than_equal"}:
        bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return f"{field_path(problem['loc'])} must be {bound}"
    return f"{field_path(problem['loc'])} {_RULES.get(kind, 'is invalid')}"


def field_path(location: tuple[int | str, ...]) -> str:
    """Write ``("parameters", 0, "value")`` as ``parameters[0].value``.

    A name that looks like no field is withheld: it may be a private value.
    """
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if _FIELD_NAME.fullmatch(step) else ".(name withheld)"
    return path.lstrip(".") or "body"


def _read_date_time(value: object) -> datetime:
    if isinstance(value, str) and _DATE_TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("scheduled_for must be an ISO 8601 date-time with a UTC offset")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name is given twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

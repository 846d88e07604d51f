from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import requests

from formant_provider.api import errors
from formant_provider.api.errors import (
    FormantError,
    InvalidInput,
    ResponseLost,
    Unreachable,
)
from formant_provider.api.responses import transport_error


def every_error(cls: type[FormantError] = FormantError) -> Iterator[type[FormantError]]:
    if cls.__module__.startswith("formant_provider.api."):  # what a core keeps to itself ends no task
        yield cls
    for child in cls.__subclasses__():
        yield from every_error(child)


SPECIAL: dict[type[FormantError], Callable[[], FormantError]] = {
    errors.NotAdmitted: lambda: errors.NotAdmitted(
        "called often enough", reason="capped", free_at=datetime(2026, 3, 18, tzinfo=UTC)
    ),
    errors.CallNotAllowed: lambda: errors.CallNotAllowed(
        "calling_window is closed now", skips=False, reason="closed"
    ),
    errors.CallUnsuccessful: lambda: errors.CallUnsuccessful("busy"),
    errors.InputNotFound: lambda: errors.InputNotFound("contacts", "/c.csv: No such file or directory"),
    errors.InvalidContacts: lambda: errors.InvalidContacts(
        "2 of 3", by_reason={"duplicate": 2}, examples=((2, "duplicate"), (3, "duplicate"))
    ),
    errors.StoreMisconfigured: lambda: errors.StoreMisconfigured("it has no tables", problem="no_tables"),
    errors.TranscriptionUnsuccessful: lambda: errors.TranscriptionUnsuccessful("job_1", "failed"),
    errors.StoreUnavailable: lambda: errors.StoreUnavailable("it is locked", problem="busy"),
}


def an_error(cls: type[FormantError]) -> FormantError:
    if cls in SPECIAL:
        return SPECIAL[cls]()
    if cls is InvalidInput:
        return cls("agent_id", "must be an integer")
    return cls("it broke", operation="POST /v1/call", status=429, retry_after_s=2.5, maybe_placed=True)


@pytest.mark.parametrize("cls", list(every_error()), ids=lambda cls: cls.__name__)
def test_every_error_survives_pickling_with_its_fields(cls: type[FormantError]) -> None:
    """Errors cross process borders in Airflow, and arrive as what they were."""
    error = an_error(cls)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def drawn_tree() -> dict[str, str]:
    """Read the drawing in the module's docstring: each error's name, and the name it is drawn below."""
    parents, tree = ["FormantError"], {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"\s*((?:│   )*)[├└]── (\w+)", line):
            depth = len(match[1]) // 4
            tree[match[2]] = parents[depth]
            parents[depth + 1 :] = [match[2]]
    return tree


def test_the_drawing_of_the_tree_is_complete_and_true() -> None:
    """The module opens with a drawing of every error below its parent."""
    real = {cls.__name__: cls.__base__.__name__ for cls in every_error() if cls is not FormantError}
    assert drawn_tree() == real


def every_requests_error(cls: type[Exception] = requests.RequestException) -> Iterator[type[Exception]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__.startswith("requests"):
            yield from every_requests_error(child)


SURELY_NOT_SENT = {
    "ConnectTimeout",
    "ProxyError",
    # Raised while a request is made ready.
    "InvalidHeader",
    "InvalidProxyURL",
    "InvalidSchema",
    "InvalidURL",
    "MissingSchema",
}


@pytest.mark.parametrize("cls", sorted(set(every_requests_error()), key=lambda c: c.__name__))
def test_every_error_of_requests_is_mapped_and_only_sure_ones_count_as_not_sent(cls: type[Exception]) -> None:
    """Whatever requests raises becomes one of our errors; in doubt, the request may have arrived."""
    try:
        error = cls("boom")
    except TypeError:  # JSONDecodeError wants more
        error = requests.exceptions.JSONDecodeError("boom", "", 0)
    expected = Unreachable if cls.__name__ in SURELY_NOT_SENT else ResponseLost
    assert type(transport_error("POST /v1/call", error)) is expected

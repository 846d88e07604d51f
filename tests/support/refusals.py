"""What is refused, and that the error shows nothing private."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from formant_provider.api.errors import InvalidInput


def refusal(action: Callable[[], object], field: str | None = "contacts") -> str:
    """Return why an action is refused, with an error that names a field and shows no number and no name."""
    with pytest.raises(InvalidInput) as caught:
        action()
    assert field in {None, caught.value.field}
    assert caught.value.__context__ is None, "an error raised while another is handled carries its text along"
    assert "Rahul" not in str(caught.value)
    assert not re.search("[0-9]{7}", str(caught.value))
    return caught.value.reason

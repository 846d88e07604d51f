"""The page of messages has a section for each kind of error."""

from __future__ import annotations

import re

from formant_provider.api import errors
from support.pages import DOCS


def test_every_error_has_a_section() -> None:
    """Whoever sees one of our errors in a log finds its name in a heading; only the roots have none."""
    headings = " ".join(re.findall(r"^## (.+)$", (DOCS / "messages.md").read_text(), re.MULTILINE)).split()
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    named = {kind.__name__ for kind in kinds if issubclass(kind, errors.FormantError)}
    assert named - {"FormantError", "RetryableError"} <= {word.strip(",") for word in headings}

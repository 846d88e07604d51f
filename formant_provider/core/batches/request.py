"""From the fields a user fills in to one batch call, under a name by which it is found again.

The vendor takes no key for a batch call, so a marker made of our key travels in its name.

Vendor page: https://docs.formantai.com/platform/batch-calls
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from formant_provider.api.errors import InvalidInput
from formant_provider.core import validation
from formant_provider.core.keys import key_for_batch, key_for_named_batch

MAX_NAME_CHARACTERS = 100
_MARKER_BEGINS = "[af-"
_MARKER_DIGITS = 16
_MARKER = re.compile(rf"{re.escape(_MARKER_BEGINS)}[0-9a-f]{{{_MARKER_DIGITS}}}\]")
_LONGEST_NAME = MAX_NAME_CHARACTERS - len(f" {_MARKER_BEGINS}]") - _MARKER_DIGITS


@dataclass(frozen=True)
class BatchRequest:
    """One batch call, ready to be sent.

    :param name: for people.
    :param key: the same for every try of the same batch call.
    :param write_file: makes the file that is uploaded and returns its path; called only when it has to be
        sent. What it raises ends the placement, and nothing was sent.
    """

    agent_id: int
    name: str
    key: str
    write_file: Callable[[], str | os.PathLike[str]]

    @property
    def marker(self) -> str:
        """What identifies this batch call, in its name."""
        return f"{_MARKER_BEGINS}{uuid.UUID(self.key).hex[:_MARKER_DIGITS]}]"

    @property
    def full_name(self) -> str:
        """The name that the vendor sees."""
        return f"{self.name} {self.marker}"


def build_batch_request(
    *,
    agent_id: Any,
    name: Any,
    idempotency_key: Any,
    write_file: Callable[[], str | os.PathLike[str]],
    task: tuple[str, str, str],
    is_mapped: bool,
) -> BatchRequest:
    """Check every field of the operator, rendered, and derive the key.

    :param task: DAG id, run id and task id: what names the batch call when the user does not.
    :param is_mapped: whether the task is a row of a mapped list; then its name makes it differ from others.
    :raises InvalidInput: with the name of the field at fault.
    """
    agent = validation.to_agent_id(agent_id)
    title = to_batch_name(name)
    own_name = validation.to_optional_text("idempotency_key", idempotency_key)
    dag_id, run_id, task_id = task
    if own_name is not None:
        key = key_for_named_batch(name=own_name, agent_id=agent)
    else:
        row = title if is_mapped else None
        key = key_for_batch(dag_id=dag_id, run_id=run_id, task_id=task_id, agent_id=agent, name=row)
    return BatchRequest(agent, title, key, write_file)


def to_batch_name(value: object) -> str:
    """Return the name of a batch call, on one line and short enough to have a marker behind it."""
    name = validation.to_optional_text("name", value)
    if name is None:
        raise InvalidInput("name", "is missing")
    if len(name) > _LONGEST_NAME:
        raise InvalidInput("name", f"has {len(name)} characters; {_LONGEST_NAME} are the most")
    if not name.isprintable():
        raise InvalidInput("name", "must be one line of printable characters")
    if _MARKER_BEGINS in name:
        raise InvalidInput("name", f"must not hold {_MARKER_BEGINS!r}, which marks the names that we give")
    return name


def marker_in(name: object) -> str | None:
    """Return the marker in the name of a batch call; ``None`` if there is none, as in one made by hand."""
    found = _MARKER.search(name) if isinstance(name, str) else None
    return found and found[0]

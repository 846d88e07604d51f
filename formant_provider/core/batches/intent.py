"""What the ledger holds of one batch call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from formant_provider.api.batch_models import BatchCall
from formant_provider.core.ledger import BaseIntent


@dataclass(frozen=True)
class BatchIntent(BaseIntent):
    """What the ledger holds of one batch call.

    :param key: its marker is made of it; it is not sent.
    """

    receipt: BatchCall | None = None

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote."""
        receipt = entry.get("receipt")
        known = {"receipt": BatchCall(**receipt) if receipt else None}
        return cls(**vars(BaseIntent.from_json(entry)) | known)

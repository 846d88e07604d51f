"""One page of a list, whatever is listed.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from formant_provider.api.batch_models import to_integer

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list.

    :param items: the records, in the API's order, which the vendor does not document.
    :param has_more: whether another page follows.
    :param total: how many there are in all, ``None`` when the API did not say.
    """

    items: tuple[T, ...]
    has_more: bool
    total: int | None

    @classmethod
    def from_json(
        cls,
        answer: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], T | None],
        *,
        limit: int,
        offset: int,
    ) -> Page[T]:
        """Read one page. Without a word of what follows, a full page is taken to have a next one.

        :param read: reads one record; ``None`` when it has no id to go by.
        """
        rows, total, has_more = answer["data"], to_integer(answer.get("total")), answer.get("has_more")
        more = len(rows) >= limit if total is None else offset + len(rows) < total
        records = [read(row) for row in rows if isinstance(row, Mapping)]
        return cls(
            items=tuple(record for record in records if record is not None),
            has_more=has_more if isinstance(has_more, bool) else more,
            total=total,
        )

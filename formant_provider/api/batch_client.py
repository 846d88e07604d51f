"""The endpoints of batch calls, a part of :class:`~formant_provider.api.client.FormantClient`.

Vendor page: https://docs.formantai.com/api-reference/batch-calls
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from formant_provider.api.batch_models import BatchCall, BatchCallPage, BatchMetrics
from formant_provider.api.errors import BadResponse, FormantError
from formant_provider.api.exchange import Exchange
from formant_provider.api.multipart import Form

CREATE_BATCH_CALL = "POST /v1/batch-call"
LIST_BATCH_CALLS = "GET /v1/batch-calls"
GET_BATCH_CALL = "GET /v1/batch-calls/{batch_id}"
GET_BATCH_METRICS = "GET /v1/batch-calls/{batch_id}/metrics"


class BatchEndpoints(ABC):
    """What a client can do with batch calls."""

    def create_batch_call(
        self,
        agent_id: int,
        name: str,
        file: str | os.PathLike[str],
        *,
        before_send: Callable[[], FormantError | None] | None = None,
    ) -> BatchCall:
        """Upload a CSV file, and have every row of it rung. There is no way to take that back.

        The vendor knows no key for this, so a second upload would ring everybody again. It is repeated only
        after it surely was not accepted: without a connection, or after a 429.

        :param name: of the campaign, for people and for finding it again.
        :param file: local path of a file with a ``customer_phone`` column. It is read while it is sent.
        :param before_send: asked right before every send; the error it returns is raised instead.
        :raises RequestRefused: the server said no.
        :raises FormantError: of any kind; ``maybe_placed`` says whether it may have been accepted.
        :raises OSError: the file cannot be opened; nothing was sent.
        """
        with open(file, "rb") as source:
            form = Form({"agent_id": str(agent_id), "name": name}, source)
            answer = self._exchange(
                Exchange(
                    CREATE_BATCH_CALL,
                    "/v1/batch-call",
                    form=form,
                    before_send=before_send,
                    rings=True,
                    guarded=False,
                )
            )
        return _record(answer, CREATE_BATCH_CALL, maybe_placed=True)

    def list_batch_calls(
        self, agent_id: int | None = None, *, limit: int = 20, offset: int = 0
    ) -> BatchCallPage:
        """Read one page of batch calls. The vendor documents no order and no other filter.

        :param agent_id: only this agent's; ``None`` means every agent's.
        :param limit: records a page, 1 to 100.
        :param offset: records to pass over.
        """
        query = {"agent_id": agent_id, "limit": limit, "offset": offset}
        answer = self._exchange(Exchange(LIST_BATCH_CALLS, "/v1/batch-calls", query=query, shape=list))
        return BatchCallPage.from_json(answer, limit=limit, offset=offset)

    def get_batch_call(self, batch_id: int) -> BatchCall:
        """Read one batch call.

        :raises NotFound: there is none by this id.
        """
        return _record(self._exchange(Exchange(GET_BATCH_CALL, _path(batch_id))), GET_BATCH_CALL)

    def get_batch_metrics(self, batch_id: int) -> BatchMetrics:
        """Read what became of the recipients of a batch call so far.

        :raises NotFound: there is none by this id.
        """
        answer = self._exchange(Exchange(GET_BATCH_METRICS, f"{_path(batch_id)}/metrics"))
        return BatchMetrics.from_json(answer["data"])

    @abstractmethod
    def _exchange(self, exchange: Exchange) -> dict[str, Any]:
        """Send, and return the answer's JSON."""


def _path(batch_id: int) -> str:
    return f"/v1/batch-calls/{int(batch_id)}"


def _record(answer: dict[str, Any], operation: str, *, maybe_placed: bool = False) -> BatchCall:
    batch = BatchCall.from_json(answer["data"])
    if batch is None:
        text = f"{operation}: the record has no id"
        raise BadResponse(text, operation=operation, maybe_placed=maybe_placed)
    return batch

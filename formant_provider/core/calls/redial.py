"""A further call, after one that did not reach the recipient: when it is due, and how it joins the last one.

Vendor page: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from formant_provider.api.errors import may_have_been_placed
from formant_provider.api.models import CallReceipt, CallRequest, Conversation
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.lookup import find_detail

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

MOST_EARLIER = 50


@dataclass(frozen=True)
class Redial:
    """What a further call follows.

    :param conversation_id: that it joins.
    :param status: in which that one ended.
    :param earlier: ids of all conversations with the recipient that are there already.
    """

    conversation_id: str
    status: str
    earlier: tuple[str, ...]


def redial_of(known: Intent, records: Sequence[Conversation], redial_on: Collection[str]) -> Redial | None:
    """Return what a further call would follow; ``None`` when there is to be none.

    The platform redials by itself, perhaps under trace ids of its own, and others call the same person. So
    every conversation with the recipient since this call has to have ended as named: whoever was reached
    meanwhile, or is talking right now, is left alone.

    :param known: the call that was placed.
    :param records: all conversations with the recipient since then, oldest first.
    :param redial_on: statuses after which there is a further one.
    """
    own = [record for record in records if known.receipt and _is_of(record, known.receipt)]
    others = [record for record in records if record.start_timestamp is not None]
    if not own or not all(record.status in redial_on for record in [*own, *others]):
        return None
    last = own[-1]
    seen = [*known.earlier, *(record.conversation_id for record in records)]
    return Redial(last.conversation_id, str(last.status), tuple(dict.fromkeys(seen))[-MOST_EARLIER:])


def _is_of(record: Conversation, receipt: CallReceipt) -> bool:
    if receipt.trace_id is None or record.trace_id is None:
        return record.conversation_id == receipt.conversation_id
    return record.trace_id == receipt.trace_id


def joined(call: CallRequest, client: FormantClient, conversation_id: str) -> CallRequest:
    """Return a call again: joined to its last conversation and told what that one brought."""
    context = call.retry_context
    if context is None:
        with may_have_been_placed():
            last = find_detail(client, conversation_id)
        context = {"collected_data": last.results} if last and last.results else None
    return replace(call, conversation_id=conversation_id, retry_context=context)

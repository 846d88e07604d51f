"""What a task leaves of a call while it is under way: ids on keys of their own, and the link to its page."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from formant_provider.links import CONVERSATION_LINK_XCOM
from formant_provider.tasks.results import push, push_apart
from formant_provider.tasks.telling import tell

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.hooks.formant import FormantHook

log = logging.getLogger(__name__)

# Fields of a result that are XComs of their own as well.
APART = ("trace_id", "conversation_id", "status")


def push_ids(hook: FormantHook, result: Mapping[str, Any], context: Context) -> None:
    """Push ids and status on their own keys, for events of assets, and as the address for the UI's button."""
    push_apart(context, result, APART)
    tell(context, result)
    show_link(hook, result, context)


def show_link(hook: FormantHook, ids: Mapping[str, Any], context: Context) -> None:
    """Let the button in the UI lead to the conversation, if the connection says where that is.

    What hinders it is logged: for a button no task fails whose call was placed.
    """
    task: Any = context["task"]
    try:
        url = hook.get_config().conversation_url(
            agent_id=ids["agent_id"], conversation_id=ids["conversation_id"], trace_id=ids["trace_id"]
        )
    except Exception as error:  # a secrets backend may raise anything
        kind = type(error).__name__
        log.warning("No link to the conversation: the connection could not be read (%s).", kind)
        return
    task.conversation_url = url
    if url:
        push(context, CONVERSATION_LINK_XCOM, url)

"""The button in Airflow's UI that leads to a conversation, where the connection says where that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

CONVERSATION_LINK_XCOM = "_link_formant_conversation"


class ConversationLink(BaseOperatorLink):
    """Leads to the conversation of a call, by ``conversation_url_template`` of the connection.

    The address is known as soon as the ids in it are, so the button works while the task waits. Without a
    template it leads nowhere: the vendor documents no such page.
    """

    name = "FormantAI conversation"
    xcom_key = CONVERSATION_LINK_XCOM

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's
        """Return the address, in the worker that ran the task; Airflow keeps it for the UI."""
        return getattr(operator, "conversation_url", None) or ""


def links_of(task: BaseOperator) -> tuple[BaseOperatorLink, ...]:
    """Return the links of a task. A link is an XCom as well, so a task that may push none has none."""
    return (ConversationLink(),) if task.do_xcom_push else ()

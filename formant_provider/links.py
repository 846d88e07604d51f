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

    The address is pushed to XCom as soon as the ids it needs are known. Without a template the link leads
    nowhere: the vendor documents no such page.
    """

    name = "FormantAI conversation"
    xcom_key = CONVERSATION_LINK_XCOM

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's
        """Return the address that the task has pushed, or nothing."""
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""


def links_of(task: BaseOperator) -> tuple[BaseOperatorLink, ...]:
    """Return the links of a task. A link is an XCom as well, so a task that may push none has none."""
    return (ConversationLink(),) if task.do_xcom_push else ()

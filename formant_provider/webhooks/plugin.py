"""The receiver in Airflow's API server: a plugin that is off unless ``[formant] webhooks`` is true.

Airflow imports plugins in each of its processes. So nothing is imported here but Airflow itself, and the
application is made at its first request, which reaches the API server alone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin
from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from formant_provider.webhooks.service import Service

log = logging.getLogger(__name__)

URL_PREFIX = "/formant"
SECTION = "formant"


class LazyApp:
    """The ASGI application, made at the first request. Its threads end with the process."""

    def __init__(self) -> None:
        self._service: Service | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._service is None:
            from formant_provider.webhooks.connections import Connections
            from formant_provider.webhooks.service import Service

            named = conf.get(SECTION, "webhook_conn_ids", fallback="formant_default")
            self._service = Service(Connections([name.strip() for name in named.split(",") if name.strip()]))
        await self._service.app(scope, receive, send)


def _apps() -> list[Any]:
    try:
        is_on = conf.getboolean(SECTION, "webhooks", fallback=False)
    except Exception as error:  # a typing error must not keep Airflow from starting
        log.warning(
            "[%s] webhooks is no boolean, so no webhook is received: %s", SECTION, type(error).__name__
        )
        return []
    if not is_on:
        return []
    return [{"app": LazyApp(), "url_prefix": URL_PREFIX, "name": "formant webhooks"}]


class FormantWebhooksPlugin(AirflowPlugin):
    """Receives webhooks at ``/formant/webhooks/{conn_id}`` of the API server, when it is switched on."""

    name = "formant_webhooks"
    fastapi_apps = _apps()

"""The calls page as a plugin of Airflow's, off unless ``[formant] calls_page`` is true.

Airflow imports plugins in each of its processes. So nothing is imported here but Airflow itself, and the
application is made at its first request, which reaches the API server alone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin
from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)

NAME = "formant-calls"
SECTION = "formant"


class LazyApp:
    """The ASGI application, made at the first request."""

    def __init__(self) -> None:
        self._app: FastAPI | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._app is None:
            from formant_provider.calls_page.app import create_app

            named = conf.get(SECTION, "calls_page_conn_ids", fallback="formant_default")
            self._app = create_app([name.strip() for name in named.split(",") if name.strip()])
        await self._app(scope, receive, send)


def is_on() -> bool:
    """Whether somebody has switched the page on."""
    try:
        return bool(conf.getboolean(SECTION, "calls_page", fallback=False))
    except Exception as error:  # a typing error must not keep Airflow from starting
        log.warning(
            "[%s] calls_page is no boolean, so there is no calls page: %s", SECTION, type(error).__name__
        )
        return False


# Relative to the address of Airflow, which may have a path of its own.
_VIEW = {
    "name": "Calls",
    "href": f"{NAME}/",
    "destination": "nav",
    "category": "browse",
    "url_route": NAME,
}


class FormantCallsPagePlugin(AirflowPlugin):
    """Shows the calls of today under *Browse*, *Calls*, when it is switched on."""

    name = "formant_calls_page"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": f"/{NAME}", "name": "formant calls"}] if is_on() else []
    external_views = [_VIEW] if fastapi_apps else []

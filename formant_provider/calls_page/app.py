"""The web application: one address, for whoever is logged in to Airflow, and GET alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse

from formant_provider.api.errors import FormantError
from formant_provider.calls_page.access import readable
from formant_provider.calls_page.days import EARLIEST, LATEST, day_of
from formant_provider.calls_page.page import calls_page, headers, message_page
from formant_provider.calls_page.shown import is_empty, places_of, shown
from formant_provider.calls_page.sources import NotReady, not_ready, source_of, states_of

if TYPE_CHECKING:
    from formant_provider.calls_page.days import Day

log = logging.getLogger(__name__)

# A store that does not answer must not keep all threads of the API server waiting for it.
_AT_ONCE = 4
_PATIENCE_S = 2.0
_MESSAGES = {
    401: ("Not logged in", "Log in to Airflow to see the calls."),
    403: ("Not logged in", "Airflow does not accept this session any more. Log in again to see the calls."),
    404: ("Not found", "There is no such page."),
    405: ("Not allowed", "The calls page can only be read."),
    422: ("Not found", "The address is not one of this page: a day is written as 2026-01-31."),
}


def create_app(conn_ids: Sequence[str]) -> FastAPI:
    """Return the ASGI application.

    :param conn_ids: the connections whose call stores are shown, the first one unless another is asked for.
    """
    app = FastAPI(title="formant calls", docs_url=None, redoc_url=None, openapi_url=None)
    refusals: list[int | type[Exception]] = [RequestValidationError, *_MESSAGES]
    for refusal in refusals:
        app.add_exception_handler(refusal, _refused)
    threads = threading.BoundedSemaphore(_AT_ONCE)

    @app.get("/")
    def calls(
        user: Annotated[BaseUser, Depends(get_user)],
        day: Annotated[date | None, Query(ge=EARLIEST, le=LATEST)] = None,
        conn_id: str | None = None,
    ) -> HTMLResponse:
        chosen = conn_id or next(iter(conn_ids), None)
        if chosen not in conn_ids or chosen is None:
            raise HTTPException(404)
        if not threads.acquire(timeout=_PATIENCE_S):
            return _answer(503, "Busy", "Others wait for the call store. Reload this page in a moment.")
        try:
            text = _page(user, day_of(day), chosen, conn_ids)
        except NotReady as error:
            return _answer(503, "The calls cannot be shown", f"{str(error).rstrip('.')}.")
        except Exception as error:
            log.warning("The calls page could not be made: %s", type(error).__name__, exc_info=True)
            what = f"The log of the API server says more ({type(error).__name__})."
            return _answer(503, "The page could not be made", what)
        finally:
            threads.release()
        return HTMLResponse(text, headers=headers())

    return app


def _page(user: BaseUser, day: Day, conn_id: str, conn_ids: Sequence[str]) -> str:
    from formant_provider.store.overview import dag_ids_in, overview

    source = source_of(conn_id)
    try:
        dag_ids = readable(dag_ids_in(source.store), user)
        found = overview(source.store, dag_ids, since=day.began, until=day.ended, now=day.now)
    except FormantError as error:
        raise not_ready(error) from None
    rows = shown(found, source, day, states_of(places_of(found)))
    return calls_page(rows, day, conn_id=conn_id, conn_ids=conn_ids, is_empty=is_empty(found, dag_ids))


async def _refused(_request: Request, error: Exception) -> HTMLResponse:
    status = getattr(error, "status_code", 422)  # a parameter that is invalid has none
    return _answer(status, *_MESSAGES[status])


def _answer(status: int, title: str, text: str) -> HTMLResponse:
    allowed = {"Allow": "GET"} if status == 405 else {}
    return HTMLResponse(message_page(title, text), status, headers={**headers(), **allowed})

"""Where the page gets what it shows: the call store of a connection, and the states of tasks from Airflow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.hooks.formant import FormantHook

if TYPE_CHECKING:
    from formant_provider.store.store import Store

log = logging.getLogger(__name__)

Place = tuple[str, str, str, int]
"""DAG, run, task, and the row of a mapped task or -1."""


class NotReady(Exception):
    """The page cannot be shown, and says why and what to do."""


class Source(NamedTuple):
    """A call store, and what leads to a conversation: ``None`` where the connection does not say it."""

    store: Store
    conversation_url: Callable[..., str | None]


def source_of(conn_id: str) -> Source:
    """Open the call store of a connection. Its tables are not made, whatever the connection says.

    :raises NotReady: there is none, or it cannot be used.
    """
    from formant_provider.store.opening import open_store

    try:
        config = FormantHook(conn_id).get_config()
        if config.store is None:
            what = f"Connection {conn_id!r} names no call store. Set one up, and name it in store_conn_id"
            raise NotReady(what)
        return Source(open_store(replace(config.store, auto_upgrade=False)), config.conversation_url)
    except FormantError as error:
        raise not_ready(error) from None
    except ImportError:
        what = "The call store needs packages that are not installed here"
        raise NotReady(f'{what}: pip install "airflow-provider-formant[store]"') from None
    except NotReady:
        raise
    except Exception as error:  # whatever Airflow, its database or its secrets backend has to say
        what = f"Connection {conn_id!r} does not exist, or Airflow cannot read it"
        raise NotReady(f"{what} ({type(error).__name__})") from None


def not_ready(error: FormantError) -> NotReady:
    """Return an error in words for whoever looks at the page."""
    return NotReady(
        f"The call store cannot be used: {error}" if isinstance(error, InvalidInput) else str(error)
    )


def states_of(places: Collection[Place]) -> dict[Place, str]:
    """Return the states of task instances, as Airflow has them; those that are not found are left out."""
    if not places:
        return {}
    try:
        return _states_of(places)
    except Exception as error:  # its database, or a later Airflow with other tables
        log.warning("The states of tasks could not be read for the calls page: %s", type(error).__name__)
        return {}


def _states_of(places: Collection[Place]) -> dict[Place, str]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    dag_ids, run_ids, task_ids, map_indexes = (list(set(names)) for names in zip(*places, strict=True))
    with create_session() as session:
        rows = session.query(
            *(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index),
            TaskInstance.state,
        ).filter(
            TaskInstance.dag_id.in_(dag_ids),
            TaskInstance.run_id.in_(run_ids),
            TaskInstance.task_id.in_(task_ids),
            TaskInstance.map_index.in_(map_indexes),
        )
        found = {(row[0], row[1], row[2], row[3]): str(row[4] or "no state") for row in rows}
    return {place: found[place] for place in places if place in found}

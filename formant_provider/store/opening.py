"""Opens the call store of a connection: from the Airflow connection that it names to a store."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from formant_provider.api.config import extra_of
from formant_provider.api.errors import InvalidInput
from formant_provider.store.store import Store, is_up_to_date, open_up, set_up

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from formant_provider.api.store_config import StoreConfig


log = logging.getLogger(__name__)


class NoStoreConnection(InvalidInput):
    """There is no Airflow connection of the name, or Airflow cannot look it up: it tells the same."""


class Kind(NamedTuple):
    """One kind of database, by Airflow's name of it.

    :param hook: the class of Airflow's hook.
    :param dialect: SQLAlchemy's name of it.
    :param extra: of this package, which brings the hook.
    """

    hook: str
    dialect: str
    extra: str


KINDS = {
    "sqlite": Kind("SqliteHook", "sqlite", "store"),
    "postgres": Kind("PostgresHook", "postgresql", "postgres"),
    "mysql": Kind("MySqlHook", "mysql", "mysql"),
}
_MISSING = "does not exist; create one of type postgres, mysql or sqlite"
_FIELDS = ("conn_type", "host", "port", "login", "password", "schema", "extra")

# By process and connection: an engine that was open when a process forked belongs to the parent. It stays
# here in the child, so that nothing there closes the parent's sockets.
_engines: dict[tuple[int, str], tuple[tuple[Any, ...], Engine]] = {}
_stores: WeakKeyDictionary[Engine, tuple[StoreConfig, Store]] = WeakKeyDictionary()


def open_store(config: StoreConfig) -> Store:
    """Return the call store of a connection: its version and its secret were checked, once a process.

    With ``store_auto_upgrade`` its tables are made, or brought up to date, if need be.

    :param config: what the formant connection says of its store.
    :raises InvalidInput: as :func:`engine_of`; its tables are of another version; its secret is another.
    :raises SendAborted: the database does not answer, or refuses.
    """
    return opener(config)()


def opener(config: StoreConfig) -> Callable[[], Store]:
    """Read the Airflow connection of a store, and return what connects to it and does as :func:`open_store`.

    The second may be called in any thread, since it asks nothing of Airflow.

    :raises InvalidInput: as :func:`engine_of`.
    """
    return partial(_opened, engine_of(config), config)


async def async_opener(config: StoreConfig) -> Callable[[], Store]:
    """Return the same as :func:`opener`, without blocking the event loop.

    :raises InvalidInput: as :func:`engine_of`.
    """
    connection = await _read_async(config.conn_id)
    # To read an extra Airflow may ask its supervisor for it to be masked, which blocks.
    engine = await asyncio.to_thread(_engine_for, config, connection)
    return partial(_opened, engine, config)


def _opened(engine: Engine, config: StoreConfig) -> Store:
    known = _stores.get(engine)
    if known is None or known[0] != config:
        known = _stores[engine] = (config, _open(engine, config))
    return known[1]


def where(config: StoreConfig) -> str:
    """Return the store in words for people."""
    return f"connection {config.conn_id!r}"


def _open(engine: Engine, config: StoreConfig) -> Store:
    place = where(config)
    if not config.auto_upgrade or is_up_to_date(engine, place):
        return open_up(engine, place, config.secret)
    if set_up(engine, place, config.secret, now=datetime.now(UTC)):
        log.warning(
            "The tables of the call store (%s) were made, or brought up to date. A new store knows of no call"
            " before it, and of nobody who is not to be called.",
            place,
        )
    return open_up(engine, place, config.secret)


def engine_of(config: StoreConfig) -> Engine:
    """Return the engine of a connection's store, one for each process, without connecting to the database.

    The Airflow connection is read each time; when it has changed, there is a new engine. It blocks, so an
    event loop calls it in a thread.

    :param config: what the formant connection says of its store.
    :raises InvalidInput: the Airflow connection does not exist, is of another type, cannot be used, or what
        its type needs is not installed; nothing was sent.
    """
    return _engine_for(config, _read(config.conn_id))


def _engine_for(config: StoreConfig, connection: Any) -> Engine:
    key, contents = (os.getpid(), config.conn_id), tuple(getattr(connection, name) for name in _FIELDS)
    before = _engines.get(key)
    if before is not None and before[0] == contents:
        return before[1]
    engine = _make(config.conn_id, connection)
    _engines[key] = (contents, engine)
    if before is not None:
        before[1].dispose()
    return engine


def _read(conn_id: str) -> Any:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        pass
    raise NoStoreConnection("store_conn_id", f"connection {conn_id!r} {_MISSING}")


async def _read_async(conn_id: str) -> Any:
    from airflow.providers.common.compat.connection import get_async_connection
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    try:
        return await get_async_connection(conn_id)
    except AirflowNotFoundException:
        pass
    raise NoStoreConnection("store_conn_id", f"connection {conn_id!r} {_MISSING}")


def _make(conn_id: str, connection: Any) -> Engine:
    kind = KINDS.get(connection.conn_type)
    if kind is None:
        raise _refused(conn_id, "must be of type postgres, mysql or sqlite")
    if not _has_extra(connection):
        raise _refused(conn_id, "must have a JSON object as its extra")
    wrong = "has fields that cannot be read"
    try:
        engine = _engine(conn_id, kind, connection)
    except ImportError:
        engine = None
        wrong = f'needs a package that is not installed: pip install "airflow-provider-formant[{kind.extra}]"'
    if engine is None:
        raise _refused(conn_id, wrong)
    if kind.dialect == "sqlite":
        _check_file(conn_id, connection.host or "", engine)
    return engine


def _has_extra(connection: Any) -> bool:
    """Whether the extra can be read, if there is one."""
    with suppress(InvalidInput):
        extra_of(connection)
        return True
    return False


def _engine(conn_id: str, kind: Kind, connection: Any) -> Engine | None:
    from airflow.providers.common.compat.sdk import AirflowException, AirflowOptionalProviderFeatureException
    from sqlalchemy.exc import ArgumentError

    from formant_provider.store.engines import options, tune

    name = connection.conn_type
    hook_class = getattr(import_module(f"airflow.providers.{name}.hooks.{name}"), kind.hook)
    hook = hook_class(**{f"{name}_conn_id": conn_id})
    hook.get_connection = lambda _: connection  # it was read already, and a trigger's thread cannot
    try:
        arguments = {"connect_args": _given(connection)} if kind.dialect != "sqlite" else {}
        return tune(hook.get_sqlalchemy_engine({**options(kind.dialect), **arguments}))
    except AirflowOptionalProviderFeatureException as error:
        raise ImportError from error
    except (AirflowException, ArgumentError, TypeError, ValueError):
        return None  # their texts may hold the password


def _given(connection: Any) -> dict[str, Any]:
    """Return what of the extra the hook gives its own connections and not the engine's.

    That is what is about TLS, and PostgreSQL's ``options``, which say in which schema the tables are.
    """
    extra, own = connection.extra_dejson, {"options"} if connection.conn_type == "postgres" else set()
    found = {name: value for name, value in extra.items() if name.startswith("ssl") or name in own}
    if isinstance(found.get("ssl"), str):  # MySQL's form keeps an object as text
        found["ssl"] = json.loads(found["ssl"])
    return found


def _check_file(conn_id: str, host: str, engine: Engine) -> None:
    path, query = engine.url.database or "", engine.url.query
    if not path.removeprefix("file:").startswith("/") or query.get("mode") == "memory":
        raise _refused(conn_id, "must have the absolute path of a file in its host; memory keeps nothing")
    if not path.startswith(host):  # the hook makes a URI of it, and decodes it once too often
        raise _refused(conn_id, "must have a path without % and ? in its host: it would be another file's")


def _refused(conn_id: str, reason: str) -> InvalidInput:
    return InvalidInput("store_conn_id", f"connection {conn_id!r} {reason}")

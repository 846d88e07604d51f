"""What each kind of database needs to hold the store: waits that end, durable writes, a small pool."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from formant_provider.store.failures import problem_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import Dialect

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
APPLICATION_NAME = "airflow-provider-formant"

# A network that swallows packets ends a statement as well; what the connection says itself comes first.
_LIBPQ = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": APPLICATION_NAME,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": STATEMENT_TIMEOUT_S * 1000,
}
# For one transaction alone: behind a pooler, a session is shared with others, who have their own limits, and
# some refuse a connection that sets them when it is made. To compile a statement about 20,000 people takes
# ten times as long as to run it.
_SETTINGS = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
    "lock_timeout": f"{STATEMENT_TIMEOUT_S}s",
    "synchronous_commit": "on",
    "jit": "off",
}
_LIMITS = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _SETTINGS.items())
_DEFAULTS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": STATEMENT_TIMEOUT_S},
    "postgresql": _LIBPQ,
    "mysql": {"connect_timeout": CONNECT_TIMEOUT_S, "charset": "utf8mb4"},
}
# The server's own limit comes first. MySQL Connector/Python has other names for these.
_MYSQL_SOCKET = {"read_timeout": STATEMENT_TIMEOUT_S + 5, "write_timeout": STATEMENT_TIMEOUT_S + 5}
# Times are read from its clock, which goes back once a year in a time zone. A text that is too long is an
# error, and not cut. For a table that somebody else is changing, MySQL would wait for a day or a year.
_MYSQL_SESSION = f"""SET SESSION innodb_lock_wait_timeout = {STATEMENT_TIMEOUT_S},
    lock_wait_timeout = {STATEMENT_TIMEOUT_S}, time_zone = '+00:00',
    sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"""


def options(dialect: str) -> dict[str, Any]:
    """Return what :func:`sqlalchemy.create_engine` has to be given, which :func:`tune` cannot add later.

    :param dialect: ``"sqlite"``, ``"postgresql"`` or ``"mysql"``.
    """
    common = {
        **{"poolclass": QueuePool, "pool_size": 2, "max_overflow": 8, "pool_timeout": STATEMENT_TIMEOUT_S},
        "hide_parameters": True,
    }
    if dialect == "sqlite":
        return common
    # PostgreSQL has a first statement in each transaction anyway, which finds a connection that has died.
    return {**common, "pool_pre_ping": dialect != "postgresql", "isolation_level": "READ COMMITTED"}


def create(url: str, **overrides: Any) -> Engine:
    """Return an engine for the store that connects to a URL.

    :param url: as SQLAlchemy takes it.
    :param overrides: arguments of :func:`sqlalchemy.create_engine` that come before :func:`options`.
    """
    return tune(create_engine(url, **{**options(make_url(url).get_backend_name()), **overrides}))


def tune(engine: Engine) -> Engine:
    """Set what the engine's kind of database needs, for each connection and transaction that it makes.

    A transaction of SQLite takes its lock when it begins, so that two that read and then write do not refuse
    each other. One that only reads can say so: ``engine.execution_options(formant_reads=True)``.

    :param engine: made with :func:`options`; nothing has been connected yet.
    """
    event.listen(engine, "do_connect", _set_defaults)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "begin", _limit_postgresql)
    else:
        event.listen(engine, "connect", _set_up_mysql)
    return engine


def _set_defaults(dialect: Dialect, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
    for name, value in _DEFAULTS.get(dialect.name, {}).items():
        parameters.setdefault(name, value)
    if dialect.driver == "psycopg":  # behind a pooler, what it has prepared may be in another session
        parameters.setdefault("prepare_threshold", None)
    if dialect.driver in {"mysqldb", "pymysql"}:
        for name, value in _MYSQL_SOCKET.items():
            parameters.setdefault(name, value)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # The driver begins no transactions of its own then, in Python 3.11 as in 3.12 and later; we do.
    connection.isolation_level = None
    # Bytes that are no text are what somebody has written into the file: read, and found by `verify`.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    cursor = connection.cursor()
    try:
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
    finally:
        cursor.close()


def _use_wal(cursor: Any) -> None:
    """Have readers not wait for writers. The mode stays with the file, so it is set once.

    Of two processes that set it at once, one is told at once that the file is locked: here SQLite does not
    wait for its busy timeout.
    """
    deadline = time.monotonic() + STATEMENT_TIMEOUT_S
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return  # also where the file system cannot do it; the old mode is as safe


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("formant_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _limit_postgresql(connection: Connection) -> None:
    # The first statement of each transaction, so nothing is lost when the connection has died meanwhile, and
    # SQLAlchemy makes a new one for the second attempt: a ping would be one way to the server more. It needs
    # engine.begin(): a transaction that begins by itself already has a cursor of the old connection.
    try:
        connection.exec_driver_sql(_LIMITS)
    except DBAPIError as error:
        if problem_of(error) != "unreachable":
            raise
        connection.invalidate(error)  # which SQLAlchemy does not when the server has said why it ends it
        connection.exec_driver_sql(_LIMITS)


def _set_up_mysql(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(_MYSQL_SESSION)
    finally:
        cursor.close()

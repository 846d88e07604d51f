"""Makes the tables of the call store, brings them up to date, and refuses those of another version.

Nothing is sent before the version was checked: code that does not know a table cannot keep what it promises.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, inspect, select, table, text
from sqlalchemy.exc import TimeoutError as LockTimeout

from formant_provider.api.errors import StoreMisconfigured

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

SCHEMA_VERSION = "0003"
VERSION_TABLE = "formant_store_version"
_LOCK = 0x464F524D  # any number that nobody else uses
_COMMAND = "`python -m formant_provider.store upgrade`"


def upgrade(conn: Connection) -> bool:
    """Bring the tables up to date, in the connection's transaction; return whether there was anything to do.

    Several processes may do so at once: one does, the others wait for it.
    """
    _lock(conn)
    if version(conn) == SCHEMA_VERSION:
        return False
    from alembic import command

    command.upgrade(_config(conn), "head")
    return True


def check(conn: Connection, where: str) -> None:
    """Refuse tables of another version than this code's.

    :param where: the database in words for people.
    :raises StoreMisconfigured: which says what to do about it.
    """
    found = version(conn)
    if found == SCHEMA_VERSION:
        return
    if found is None:
        reason = f"leads to a database without the tables of a call store; make them with {_COMMAND}"
    elif found < SCHEMA_VERSION:
        reason = (
            f"leads to a call store of version {found}; this package needs {SCHEMA_VERSION}: run {_COMMAND}"
        )
    else:
        reason = (
            f"leads to a call store of version {found}, which is newer than {SCHEMA_VERSION}, the one that"
            " this package knows: upgrade airflow-provider-formant here as well"
        )
    raise StoreMisconfigured(f"{where} {reason}")


def version(conn: Connection) -> str | None:
    """Return the version of the tables; ``None`` when there are none."""
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    found: str | None = conn.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    return found


def _config(conn: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = conn
    return config


def _lock(conn: Connection) -> None:
    """Let one process at a time change tables. SQLite locks its file by itself."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    elif conn.dialect.name == "mysql":
        # MySQL commits each table at once, so the lock is the session's, which must end with the transaction.
        conn.detach()
        if conn.execute(text("SELECT GET_LOCK('formant_store', 30)")).scalar() != 1:
            raise LockTimeout("Somebody else is changing the tables")

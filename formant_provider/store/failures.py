"""Turns what a database says into errors of ours: what is wrong with which store, and what to do about it."""

from __future__ import annotations

import functools
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from formant_provider.api.errors import FormantError, StoreMisconfigured, StoreUnavailable

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_TIMES_AGAIN = 6
_LONGEST_PAUSE_S = 0.1


class Problem(NamedTuple):
    """What may be wrong with a store.

    :param passes: whether a retry may find it mended.
    :param says: what it is, after "the call store ...".
    :param remedy: what a person can do.
    """

    passes: bool
    says: str
    remedy: str


PROBLEMS = {
    "unreachable": Problem(
        True, "cannot be reached", "Check that its database runs, and that it can be reached from here."
    ),
    "busy": Problem(
        True, "is busy, and did not answer in time", "If it stays so, look for long transactions in it."
    ),
    # The database has ended one of two transactions that waited for each other; see :func:`again`.
    "deadlock": Problem(
        True, "is busy, and did not answer in time", "If it stays so, look for long transactions in it."
    ),
    "disk_full": Problem(True, "has no space left on its disk", "Make room on the disk of the database."),
    # A primary server that has just become a replica says so too, until the address leads to the new one.
    "read_only": Problem(
        True,
        "is read-only",
        "The connection must lead to the primary server and not to a replica; a SQLite file and its folder"
        " must be writable for this worker.",
    ),
    "failed": Problem(True, "could not execute a statement", "The log of the database says more."),
    "no_tables": Problem(
        False,
        "has no tables, or not those of this version",
        "Run `python -m formant_provider.store upgrade`, or set store_auto_upgrade. For SQLite check the path"
        " first: a wrong one makes an empty file.",
    ),
    "no_rights": Problem(
        False,
        "does not give its login the rights that are needed",
        "Grant it SELECT, INSERT, UPDATE and DELETE on the tables that begin with formant_; whoever upgrades"
        " them needs CREATE on the schema.",
    ),
    "no_login": Problem(
        False,
        "refuses the login, or there is no such database",
        "Check login, password and schema of the connection.",
    ),
    "no_tls": Problem(
        False,
        "cannot be reached by TLS as its connection says",
        "Check sslmode, sslrootcert and what else begins with ssl in the extra of the connection, and whether"
        " the server speaks TLS.",
    ),
    "no_file": Problem(
        False,
        "cannot be opened, or is no SQLite database",
        "Check the path in the host of the connection; its folder must be there and writable.",
    ),
}

# SQLSTATE, or the beginning of it: https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATES = {
    "08": "unreachable",
    "57P": "unreachable",
    "25P03": "unreachable",
    "40": "deadlock",
    "53100": "disk_full",
    "53": "busy",
    "55P03": "busy",
    "57014": "busy",
    "25006": "read_only",
    "28": "no_login",
    "3D000": "no_login",
    "3F000": "no_tables",
    "42P01": "no_tables",
    "42703": "no_tables",
    "42501": "no_rights",
}
# https://www.sqlite.org/rescode.html; the extended codes begin with these.
_SQLITE_NAMES = {
    "SQLITE_BUSY": "busy",
    "SQLITE_LOCKED": "busy",
    "SQLITE_FULL": "disk_full",
    "SQLITE_READONLY": "read_only",
    "SQLITE_IOERR": "unreachable",
    "SQLITE_CANTOPEN": "no_file",
    "SQLITE_NOTADB": "no_file",
    "SQLITE_CORRUPT": "no_file",
    "SQLITE_PERM": "no_rights",
    "SQLITE_AUTH": "no_rights",
}
# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
_MYSQL_CODES = {
    **dict.fromkeys((1040, 1047, 1053, 1158, 1159, 1160, 1161, 1927), "unreachable"),
    **dict.fromkeys((-1, 2002, 2003, 2005, 2006, 2013, 2026, 2055, 4031), "unreachable"),
    **dict.fromkeys((1203, 1205, 1226, 1317, 1969, 3024), "busy"),
    **dict.fromkeys((1020, 1213), "deadlock"),
    **dict.fromkeys((1021, 1114), "disk_full"),
    **dict.fromkeys((1290, 1792, 1836), "read_only"),
    **dict.fromkeys((1044, 1045, 1046, 1049, 1130, 1698, 2059), "no_login"),
    **dict.fromkeys((1054, 1146), "no_tables"),
    **dict.fromkeys((1142, 1143, 1227), "no_rights"),
}
_NO_TABLES = re.compile(r"no such (table|column)|has no column named")
# libpq gives no SQLSTATE for what ends the login.
_NO_LOGIN = re.compile(r"authentication failed|no password supplied|no pg_hba\.conf entry|\" does not exist")
# Not what a connection that was made ends with, such as "SSL SYSCALL error: EOF detected".
_NO_TLS = re.compile(
    r"sslmode|root certificate|certificate file|private key file|certificate verify failed"
    r"|does not match host name|server does not support SSL|invalid connection option \"ssl"
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn an error of the database into one of ours, which holds no SQL, no value and no address.

    :param where: the database in words for people, which the error names.
    :raises StoreUnavailable: it may pass: no connection, locked, disk full, read-only.
    :raises StoreMisconfigured: it will not: no tables, no rights, no login, no file.
    """
    try:
        yield
    except (StatementError, PoolTimeout) as error:
        ours = as_ours(error, where)
        try:
            raise ours
        finally:
            # Python has chained it to the database's error, whose text has the SQL and maybe the address.
            ours.__context__ = None


def again(transact: Callable[P, T]) -> Callable[P, T]:
    """Let a function that is one transaction be run again when it was ended by a deadlock.

    With PostgreSQL and SQLite rows are locked in an order that has none. InnoDB locks more than is written:
    of those who wait to insert one key, all but one are ended when the first one takes its row back.
    """

    @functools.wraps(transact)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_TIMES_AGAIN):
            try:
                return transact(*args, **kwargs)
            except StoreUnavailable as error:
                if error.problem != "deadlock":
                    raise
            time.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311 - no secret
        return transact(*args, **kwargs)

    return run


def patiently(
    transact: Callable[[], None],
    pauses_s: Sequence[float],
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> None:
    """Run what is one transaction again for as long as the store does not answer.

    :param pauses_s: before each further time. Once as much time has passed as they are long, it is the last.
    :raises StoreUnavailable: it did not answer in the end.
    """
    give_up_at = now() + timedelta(seconds=sum(pauses_s))
    for pause_s in pauses_s:
        try:
            return transact()
        except StoreUnavailable as error:
            if now() >= give_up_at:
                raise
            log.warning("%s. What the API answered is written again in %s s.", error, pause_s)
        sleep(pause_s)
    return transact()


def as_ours(error: Exception, where: str) -> FormantError:
    """Return the error of ours that says what an error of SQLAlchemy means for the store.

    :param where: as for :func:`translated`.
    """
    name = problem_of(error)
    problem = PROBLEMS[name]
    says = problem.says
    if name == "failed":
        says += f" ({_kind(error)})"
    text = f"call store ({where}) {says}. {problem.remedy.rstrip('.')}"  # what follows begins with a period
    if problem.passes:
        return StoreUnavailable(f"The {text}", problem=name)
    return StoreMisconfigured(f"the {text}", problem=name)


def problem_of(error: Exception) -> str:
    """Return which of :data:`PROBLEMS` an error of SQLAlchemy tells of."""
    if isinstance(error, PoolTimeout):
        return "busy"
    if not isinstance(error, DBAPIError) or error.orig is None:
        return "failed"
    return "unreachable" if error.connection_invalidated else _of_driver(error.orig)


def _of_driver(cause: BaseException) -> str:
    text = str(cause)
    if name := getattr(cause, "sqlite_errorname", None):
        return "no_tables" if _NO_TABLES.search(text) else _by_beginning(_SQLITE_NAMES, name)
    if cause.args and isinstance(cause.args[0], int):  # before the state, which MySQL shares among many
        return _MYSQL_CODES.get(cause.args[0], "failed")
    if state := _sqlstate(cause):
        return _by_beginning(_SQLSTATES, state)
    if type(cause).__name__ in {"OperationalError", "ProgrammingError"} and _NO_TLS.search(text):
        return "no_tls"
    if type(cause).__name__ in {"OperationalError", "ConnectionTimeout"}:
        return "no_login" if _NO_LOGIN.search(text) else "unreachable"
    return "failed"


def _sqlstate(cause: BaseException | None) -> str | None:
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _by_beginning(problems: dict[str, str], code: str) -> str:
    return next((problems[code[:n]] for n in range(len(code), 1, -1) if code[:n] in problems), "failed")


def _kind(error: Exception) -> str:
    code = _sqlstate(getattr(error, "orig", None))
    return f"{type(error).__name__}, SQLSTATE {code}" if code else type(error).__name__

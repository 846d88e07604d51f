from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Engine, event, text

from formant_provider.api.errors import FormantError, StoreMisconfigured, StoreUnavailable
from formant_provider.store.engines import create
from formant_provider.store.failures import PROBLEMS, translated
from support.databases import Database
from support.pages import DOCS

VALUE = "+14155550100"
ONLY_POSTGRES = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
ONLY_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def make_table(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE formant_here (id VARCHAR(50) PRIMARY KEY)"))


def write(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO formant_here VALUES (:value)"), {"value": VALUE})


def failure_of(work: Callable[[], None]) -> FormantError:
    """The error of ours; neither it nor what it is chained to holds anything but words."""
    with pytest.raises(FormantError) as caught, translated("connection 'call_store'"):
        work()
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert "'call_store'" in str(error)
    for private in (VALUE, "INSERT INTO", "formant_here", "127.0.0.1", "sqlite:", "postgresql:"):
        assert private not in "".join(traceback.format_exception_only(error))
    assert pickle.loads(pickle.dumps(error)).problem == error.problem  # type: ignore[attr-defined]  # noqa: S301
    return error


def assert_passes(error: FormantError, problem: str) -> None:
    assert type(error) is StoreUnavailable
    assert (error.problem, error.is_final, error.maybe_placed) == (problem, False, False)
    assert PROBLEMS[problem].remedy.rstrip(".") in str(error)


def assert_stays(error: FormantError, problem: str) -> None:
    assert type(error) is StoreMisconfigured
    assert (error.problem, error.is_final, error.field) == (problem, True, "store_conn_id")
    assert PROBLEMS[problem].remedy.rstrip(".") in str(error)


def test_what_works_is_left_alone(database: Database) -> None:
    """Without an error nothing is changed, and an error that is no database's passes as it is."""
    with translated("connection 'call_store'"):
        make_table(database.engine())
    with pytest.raises(KeyError), translated("connection 'call_store'"):
        raise KeyError("a bug")


def test_missing_tables_name_the_command_that_makes_them(database: Database) -> None:
    """A store that was never set up says which command to run."""
    error = failure_of(lambda: write(database.engine()))
    assert_stays(error, "no_tables")
    assert "python -m formant_provider.store upgrade" in str(error)


def test_a_missing_column_is_an_older_store(database: Database) -> None:
    """Tables of another version lead to the same command."""
    engine = database.engine()
    make_table(engine)

    def work() -> None:
        with engine.begin() as connection:
            connection.execute(text("SELECT colour FROM formant_here"))

    assert_stays(failure_of(work), "no_tables")


def test_any_other_failure_holds_no_sql_and_no_value(database: Database) -> None:
    """A duplicate key that nobody expected: the value is in the database's text, and not in ours."""
    engine = database.engine()
    make_table(engine)
    write(engine)
    error = failure_of(lambda: write(engine))
    assert_passes(error, "failed")
    assert "IntegrityError" in str(error)


@ONLY_POSTGRES
def test_a_server_that_dies_or_is_gone_is_unreachable(database: Database) -> None:
    """In the middle of a transaction, before one, and after it is back: the last one works."""
    assert database.server is not None
    engine = database.engine()
    make_table(engine)
    server = database.server

    def dies_in_between() -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO formant_here VALUES ('x')"))
            server.kill()

    assert_passes(failure_of(dies_in_between), "unreachable")
    assert_passes(failure_of(lambda: write(engine)), "unreachable")
    server.start()
    write(engine)
    server.stop()
    assert_passes(failure_of(lambda: write(engine)), "unreachable")
    server.start()
    assert_passes(failure_of(lambda: write(engine)), "failed")  # the row is there


@ONLY_POSTGRES
def test_a_login_or_database_that_does_not_exist_is_named(database: Database) -> None:
    """What a person has mistyped is not retried."""
    for wrong in (database.url.replace("formant@", "nobody_here@"), f"{database.url}x"):
        engine = create(wrong)
        assert_stays(failure_of(lambda engine=engine: write(engine)), "no_login")  # type: ignore[misc]


@ONLY_POSTGRES
def test_missing_rights_are_named(database: Database) -> None:
    """A login that may not write, or not create tables."""
    assert database.server is not None
    make_table(database.engine())
    database.server.execute("DROP ROLE IF EXISTS weak")
    database.server.execute("CREATE ROLE weak LOGIN")
    engine = create(database.url.replace("formant@", "weak@"))
    assert_stays(failure_of(lambda: write(engine)), "no_rights")
    error = failure_of(lambda: _create_another(engine))
    assert_stays(error, "no_rights")
    assert "CREATE" in str(error)
    engine.dispose()


def _create_another(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.another (id INTEGER)"))


@ONLY_POSTGRES
def test_a_replica_is_read_only(database: Database) -> None:
    """A server that takes no writes is said to be one, and a retry may find the primary."""
    make_table(database.engine())
    assert database.server is not None
    name = database.connection["schema"]
    database.server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert_passes(failure_of(lambda: write(database.engine())), "read_only")


@ONLY_POSTGRES
def test_a_lock_that_is_held_too_long_is_busy(database: Database) -> None:
    """A wait for another transaction ends, with an error that is retried."""
    engine = database.engine()
    make_table(engine)

    def work() -> None:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            connection.execute(text("LOCK TABLE formant_here"))

    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE formant_here"))
        assert_passes(failure_of(work), "busy")


@ONLY_SQLITE
def test_a_full_disk_is_named_and_what_was_written_stays(database: Database) -> None:
    """SQLite cannot grow: nothing of the transaction is there, and all of the one before is."""
    engine = database.engine()
    make_table(engine)
    write(engine)

    def no_larger(connection: object, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]

    full = database.engine()
    event.listen(full, "connect", no_larger)

    def work() -> None:
        with full.begin() as connection:
            many = [{"value": f"{n:040}"} for n in range(1000)]
            connection.execute(text("INSERT INTO formant_here VALUES (:value)"), many)

    assert_passes(failure_of(work), "disk_full")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM formant_here")).scalars().all() == [VALUE]


@ONLY_SQLITE
def test_a_file_that_is_opened_for_reading_is_read_only(database: Database) -> None:
    """The connection says mode=ro, or another one opened it so."""
    make_table(database.engine())
    path = database.connection["host"]
    assert_passes(failure_of(lambda: write(create(f"sqlite:///file:{path}?mode=ro&uri=true"))), "read_only")


AS_NOBODY = """
import os, sys
from sqlalchemy import text
from formant_provider.store.engines import create
from formant_provider.store.failures import problem_of

engine = create(sys.argv[1])
engine.connect().close()
engine.dispose()
os.setuid(65534)
try:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM formant_here"))
except Exception as error:
    print(problem_of(error))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user, whose rights can be missing")
@pytest.mark.parametrize("folder", [0o777, 0o755])
def test_a_file_of_somebody_else_is_read_only(folder: int) -> None:
    """A worker that may not write the file is told so, whether or not it may write the folder."""
    with TemporaryDirectory(dir="/tmp") as path:  # pytest's own folders are closed to others
        os.chmod(path, folder)
        url = f"sqlite:///{path}/calls.db"
        make_table(create(url))
        command = [sys.executable, "-c", AS_NOBODY, url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "read_only", done.stderr


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    """No such folder, or a file that is something else."""
    assert_stays(failure_of(lambda: write(create(f"sqlite:///{tmp_path}/nowhere/calls.db"))), "no_file")
    (tmp_path / "letter.txt").write_text("Dear Sir or Madam, " * 100)
    assert_stays(failure_of(lambda: write(create(f"sqlite:///{tmp_path}/letter.txt"))), "no_file")


@ONLY_SQLITE
def test_a_locked_file_is_busy(database: Database) -> None:
    """Another process has written for too long."""
    engine = database.engine()
    make_table(engine)
    hasty = create(f"{database.url}?timeout=0.05")
    with engine.begin() as holder:
        holder.execute(text("DELETE FROM formant_here"))
        assert_passes(failure_of(lambda: write(hasty)), "busy")


def test_a_pool_with_nothing_left_is_busy(database: Database) -> None:
    """More threads than connections: the wait for one ends."""
    engine = database.engine(pool_size=1, max_overflow=0, pool_timeout=0.05)
    with engine.connect():
        assert_passes(failure_of(lambda: engine.connect().close()), "busy")


def test_every_problem_is_on_the_page_of_messages() -> None:
    """Whoever reads a message finds its words there."""
    page = (DOCS / "messages.md").read_text()
    for problem in PROBLEMS.values():
        assert f"| {problem.says.split(', and')[0]}" in page

"""Real databases for tests: SQLite files, and Debian's PostgreSQL on loopback under a user without rights.

A server is started once for each process that asks, on a free port in a folder of its own, and each test is
given a database of its own in it. ``FORMANT_TEST_POSTGRES=required`` makes a missing PostgreSQL an error and
not a skip. ``FORMANT_TEST_MYSQL`` lets the same tests run on Debian's MariaDB as well.
"""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from sqlalchemy import Engine

USER = "formant"
SETTINGS = (
    "max_connections=300",
    "unix_socket_directories=",  # loopback alone
    "listen_addresses=127.0.0.1",
    "shared_buffers=32MB",
    "log_min_messages=warning",
)

AFTER_US = 'cat; [ ! -e "$1" ] || { kill -QUIT "$(head -n 1 "$1/data/$2")"; sleep 1; rm -rf "$1"; }'


ServerT = TypeVar("ServerT", bound="Server")


@dataclass
class Database:
    """An empty database.

    :param url: what SQLAlchemy connects to.
    :param connection: the fields of an Airflow connection to it.
    :param server: the server that it is in; ``None`` for a file.
    """

    url: str
    connection: dict[str, Any]
    server: Server | None = None
    _engines: list[Engine] = field(default_factory=list, repr=False)

    @property
    def kind(self) -> str:
        """``sqlite``, ``postgres`` or ``mysql``."""
        return str(self.connection["conn_type"])

    def engine(self, **options: Any) -> Engine:
        """Return a new engine, as the store would make it; closed when the test is over.

        :param options: as :func:`sqlalchemy.create_engine` takes them.
        """
        from formant_provider.store.engines import create

        self._engines.append(create(self.url, **options))
        return self._engines[-1]

    def close(self) -> None:
        """Close what tests have left open."""
        while self._engines:
            self._engines.pop().dispose()


class Server(ABC):
    """A database server in a folder of its own, which can be killed and started again.

    :param programs: the folder of its programs.
    """

    kind: str
    checkpoint: str
    users: tuple[str, ...]
    pid_file: str

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix=f"formant-{self.kind}-", dir="/tmp"))
        self._user = _user_for(self.folder, self.users)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self._install()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def is_up(self) -> bool:
        """Whether the server was started, and not ended since."""
        return self._process is not None

    def start(self) -> None:
        """Start the server on the same port, and return when it answers; after a kill it recovers first."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, start_new_session=True, cwd="/", **self._user
            )
        _until(self._answers, self._log)

    def kill(self) -> None:
        """End the server and each of its processes with SIGKILL, as a power cut would."""
        if self._process is None:
            return
        # Each of its processes has a session of its own, so a group would not do; they go with the first,
        # but not before they notice.
        children = _children(self._process.pid)
        for pid in (self._process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        _until(lambda: not any(_is_alive(pid) for pid in children), self._log)
        (self.data / self.pid_file).unlink(missing_ok=True)

    def stop(self) -> None:
        """End the server at once and in order: open connections are closed, nothing is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        """End the server, and leave nothing of it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def execute(self, sql: str, database: str = "") -> str:
        """Run a statement as the superuser, and return what the server's own client prints."""

    @abstractmethod
    def create(self) -> Database:
        """Make an empty database, with a name of its own."""

    @abstractmethod
    def drop(self, database: Database) -> None:
        """Remove a database, whoever still uses it."""

    @abstractmethod
    def _install(self) -> None:
        """Make the files of a new server."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return what starts the server."""

    def _fields(self, name: str) -> dict[str, Any]:
        fields = {"conn_type": self.kind, "host": "127.0.0.1", "port": self.port}
        return {**fields, "login": USER, "schema": name}

    def _run(self, program: str, *arguments: str) -> str:
        command = [self.programs / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **self._user)
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done.stdout.strip()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log()
        with suppress(AssertionError):
            return self.execute("SELECT 1") == "1"
        return False

    def _log(self) -> str:
        return (self.folder / "log").read_text()[-2000:]


class Postgres(Server):
    """A PostgreSQL server."""

    kind = "postgres"
    checkpoint = "CHECKPOINT"
    users = ("postgres", "nobody")
    pid_file = "postmaster.pid"

    def _install(self) -> None:
        self._run(
            "initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"
        )

    def _command(self) -> list[str]:
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        return [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings]

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run a statement as the superuser, and return what ``psql`` prints."""
        return self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database), "-c", sql)

    def dsn(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self) -> Database:
        """Make an empty database, with a name of its own."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        # The driver that Airflow's hook takes when it is there.
        url = self.dsn(name).replace(
            "postgresql:", f"postgresql{'+psycopg' if find_spec('psycopg') else ''}:"
        )
        return Database(url, self._fields(name), self)

    def drop(self, database: Database) -> None:
        """Remove a database, whoever still uses it."""
        if self._process is not None:
            self.execute(f"DROP DATABASE IF EXISTS {database.connection['schema']} WITH (FORCE)")


@functools.cache
def postgres() -> Postgres:
    """Return the server of this process, which ends with it; it is started again if a test has ended it."""
    programs = _programs()
    if programs is None:
        reason = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
        if os.environ.get("FORMANT_TEST_POSTGRES") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return started(Postgres(programs))


def started(server: ServerT) -> ServerT:
    """Start a server that ends with this process."""
    owner = os.getpid()
    atexit.register(lambda: server.remove() if os.getpid() == owner else None)
    # Should this process be killed, its end of the pipe closes, and the server goes too.
    command = ["sh", "-c", AFTER_US, "sh", server.folder, server.pid_file]
    subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    server.start()
    return server


@contextmanager
def sqlite_database(folder: Path) -> Iterator[Database]:
    """An SQLite file that does not exist yet."""
    path = folder / "calls.db"
    database = Database(f"sqlite:///{path}", {"conn_type": "sqlite", "host": str(path)})
    try:
        yield database
    finally:
        database.close()


@contextmanager
def postgres_database() -> Iterator[Database]:
    """A database of its own in the server of this process."""
    with _database_in(postgres()) as database:
        yield database


@contextmanager
def mysql_database() -> Iterator[Database]:
    """A database of its own in the MariaDB of this process."""
    from support.mariadb import mariadb

    with _database_in(mariadb()) as database:
        yield database


@contextmanager
def _database_in(server: Server) -> Iterator[Database]:
    if not server.is_up:
        server.start()
    database = server.create()
    try:
        yield database
    finally:
        database.close()
        server.drop(database)


def contents_of(database: Database) -> str:
    """All that the tables of a database hold."""
    from sqlalchemy import MetaData, select

    engine, tables = database.engine(), MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        return "\n".join(
            str(tuple(row)) for table in tables.sorted_tables for row in connection.execute(select(table))
        )


KINDS = ("sqlite", "postgresql", *(["mysql"] if os.environ.get("FORMANT_TEST_MYSQL") else []))


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind; a ``conftest.py`` that wants it imports it."""
    opened = {
        "sqlite": lambda: sqlite_database(tmp_path),
        "postgresql": postgres_database,
        "mysql": mysql_database,
    }
    with opened[request.param]() as database:
        yield database


def _programs() -> Path | None:
    """Return the folder of the newest PostgreSQL that is installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("postgres")
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *folders]
    return next((path for path in reversed(folders) if (path / "initdb").exists()), None)


def _user_for(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Give the folder to the user that runs the server, which refuses root."""
    if os.getuid() != 0:
        return {}
    for name in names:
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.fail(f"The server refuses root, and there is no user {' or '.join(names)}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _children(pid: int) -> list[int]:
    everybody = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [each for each in everybody if _stat(each)[1:2] == [str(pid)]]


def _stat(pid: int) -> list[str]:
    """State and parent of a process, and more; nothing if there is none."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _is_alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _until(reached: Callable[[], bool], said: Callable[[], str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, said()
        time.sleep(0.02)

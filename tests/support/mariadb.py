"""Debian's MariaDB for tests, with mysqlclient, the driver that Airflow's hook takes."""

from __future__ import annotations

import functools
import uuid
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.databases import USER, Database, Server, started

MARIADBD = "/usr/sbin/mariadbd"


@functools.cache
def mariadb() -> MariaDB:
    """Return the server of this process, as :func:`support.databases.postgres` does."""
    if not (Path(MARIADBD).exists() and find_spec("MySQLdb")):
        pytest.fail("MariaDB is not installed (Debian: apt-get install mariadb-server), or no mysqlclient")
    return started(MariaDB(Path("/usr/bin")))


class MariaDB(Server):
    """A MariaDB server."""

    kind = "mysql"
    checkpoint = "FLUSH TABLES"
    users = ("mysql", "nobody")
    pid_file = "mariadb.pid"

    def _install(self) -> None:
        self._run("mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db",
                  "--auth-root-authentication-method=normal")  # fmt: skip
        user = f"{USER}@127.0.0.1"
        (self.folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS {user};\nGRANT ALL ON *.* TO {user} WITH GRANT OPTION;\n"
        )

    def _command(self) -> list[str]:
        options = {
            "datadir": self.data,
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self.folder / "socket",
            "pid-file": self.data / self.pid_file,
            "init-file": self.folder / "init.sql",
            "max-connections": 300,
            "innodb-buffer-pool-size": "32M",
            "innodb-log-file-size": "8M",
            "innodb-flush-log-at-trx-commit": 2,  # what is killed here is a process, and no machine
            "innodb-file-per-table": 0,
            "sync-frm": 0,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        return [MARIADBD, "--no-defaults", *words, "--skip-name-resolve"]

    def execute(self, sql: str, database: str = "mysql") -> str:
        """Run a statement as the superuser, and return what ``mariadb`` prints."""
        server = "--no-defaults", "-h127.0.0.1", f"-P{self.port}", f"-u{USER}"
        return self._run("mariadb", *server, "-NBe", sql, database)

    def create(self) -> Database:
        """Make an empty database, with a name of its own."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return Database(f"mysql+mysqldb://{USER}@127.0.0.1:{self.port}/{name}", self._fields(name), self)

    def drop(self, database: Database) -> None:
        """Remove a database; who still uses it would be waited for."""
        if self._process is not None:
            name = database.connection["schema"]
            of_it = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"  # noqa: S608 - a name of ours
            for other in self.execute(of_it).split():
                with suppress(AssertionError):  # it ended meanwhile
                    self.execute(f"KILL {other}")
            self.execute(f"DROP DATABASE IF EXISTS {name}")

"""An Airflow of many processes for tests: CeleryExecutor, Redis, PostgreSQL, two workers, two triggerers.

Each part is a program of its own in a session of its own. A part that ends by itself is started again, as
systemd or Kubernetes would. All listen on loopback alone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.databases import Database, Postgres, postgres
from support.redis_server import RedisServer
from support.standalone import AirflowApi, local, wait_for

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
PARTS = ("api-server", "scheduler", "dag-processor", *TRIGGERERS, *WORKERS)

# What takes minutes by default takes seconds here: docs/clusters.md says what each of these means.
SETTINGS = {
    "CELERY__WORKER_CONCURRENCY": 4,
    "CELERY__SYNC_PARALLELISM": 1,
    "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": 15,
    "CELERY_BROKER_TRANSPORT_OPTIONS__UNACKED_RESTORE_INTERVAL": 3,
    "CELERY_BROKER_TRANSPORT_OPTIONS__UNACKED_RESTORE_THROTTLE": 1,
    "CORE__EXECUTOR": "CeleryExecutor",
    "CORE__MAX_ACTIVE_TASKS_PER_DAG": 1024,
    "CORE__PARALLELISM": 24,
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 3600,
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 20,
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 1,
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.2,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 3,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 20,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 3,
    "SCHEDULER__TASK_QUEUED_TIMEOUT": 60,
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": 10,
    "TRIGGERER__JOB_HEARTBEAT_SEC": 2,
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 10,
    "WORKERS__MIN_HEARTBEAT_INTERVAL": 3,
}
# What each task would import first is imported once by its worker, as large installations do: it halves the
# time of the tests.
CELERY_CONFIG = """
import pkgutil

import formant_provider
from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

_OURS = pkgutil.walk_packages(formant_provider.__path__, "formant_provider.")
_NOT_FOR_TASKS = ("__main__", "migrations", "sandbox", "webhooks")
CONFIG = DEFAULT_CELERY_CONFIG | {
    "imports": [each.name for each in _OURS if not any(part in each.name for part in _NOT_FOR_TASKS)]
}
"""
JWT_SECRET, API_SECRET = (os.urandom(32).hex() for _ in range(2))
FERNET_KEY = os.environ["AIRFLOW__CORE__FERNET_KEY"]  # of this test session


class Cluster(AirflowApi):
    """Runs as long as the ``with`` block; nothing of it is left afterwards.

    :param dags_folder: its DAG files.
    :param home: its AIRFLOW_HOME, which all parts share.
    :param env: further environment of all parts.
    """

    def __init__(self, dags_folder: Path, home: Path, env: Mapping[str, str] | None = None) -> None:
        port = local.free_port()
        super().__init__(f"http://127.0.0.1:{port}")
        self.home = home
        self.postgres: Postgres = postgres()
        self.redis = RedisServer()
        self.metadata: Database = self.postgres.create()
        self.env: dict[str, str] = local.airflow_env(home, dags_folder, port) | self._settings()
        self.env |= dict(env or {})
        self._processes: dict[str, Any] = {}
        self._leaders: list[Any] = []
        self._lock, self._ending = threading.RLock(), threading.Event()
        self._stack = ExitStack()

    def _settings(self) -> dict[str, str]:
        url = f"127.0.0.1:{self.postgres.port}/{self.metadata.connection['schema']}"
        user = self.metadata.connection["login"]
        places = {
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{user}@{url}",
            "CELERY__BROKER_URL": self.redis.url,
            "CELERY__CELERY_CONFIG_OPTIONS": "cluster_celery.CONFIG",
            "CELERY__RESULT_BACKEND": f"db+postgresql://{user}@{url}",
            "CORE__FERNET_KEY": FERNET_KEY,
            "API_AUTH__JWT_SECRET": JWT_SECRET,
            "API__SECRET_KEY": API_SECRET,
            "API__WORKERS": 1,
        }
        return {f"AIRFLOW__{name}": str(value) for name, value in (SETTINGS | places).items()}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.postgres.drop, self.metadata)
            stack.enter_context(self.redis)
            stack.callback(self._end)
            self._migrate()
            for part in PARTS:
                self._start(part)
            threading.Thread(target=self._start_again, daemon=True).start()
            self.wait_until_healthy()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._stack.close()

    # What a test does to it

    def kill(self, *parts: str) -> None:
        """End parts, and all that they started, with SIGKILL; they are started again at once."""
        self._signal(signal.SIGKILL, parts)

    def suspend(self, *parts: str) -> None:
        """Suspend parts, and all that they started, as happens to a machine that is out of memory."""
        self._signal(signal.SIGSTOP, parts)

    def resume(self, *parts: str) -> None:
        """Let suspended parts go on."""
        self._signal(signal.SIGCONT, parts)

    def away_for(self, seconds: float, part: str) -> None:
        """Kill a part, and start it again after so long."""
        with self._lock:  # nobody else starts it
            self.kill(part)
            time.sleep(seconds)
            self._start(part)

    def database_away_for(self, seconds: float) -> None:
        """Kill PostgreSQL, and start it again after so long."""
        self.postgres.kill()
        time.sleep(seconds)
        self.postgres.start()

    # What a test asks

    def worker_of(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
        """Return which worker runs a task."""

        def found() -> str | None:
            pid = self.task(dag_id, run_id, task_id, map_index)["pid"]
            return next((name for name in WORKERS if pid in self.processes(name)), None)

        return wait_for(found, f"{task_id} of {dag_id} to be in a worker", timeout_s=60)

    def processes(self, *parts: str) -> list[int]:
        """Return the processes of parts that are there now."""
        return list(local.members([self._processes[part] for part in parts]))

    def log(self, *parts: str) -> str:
        """Return all that parts have said."""
        return "".join(
            path.read_text(errors="replace")
            for part in parts
            for path in sorted((self.home / "parts").glob(f"{part}.*.log"))
        )

    def wait_until_healthy(self) -> None:
        """Wait until all parts answer."""
        wait_for(lambda: local.airflow_healthy(self.base_url), "Airflow to be healthy", timeout_s=240)
        wait_for(lambda: all(map(self._is_ready, WORKERS)), "both workers to be ready", timeout_s=120)

    # How it lives

    def _migrate(self) -> None:
        config = self.home / "config"
        config.mkdir(parents=True)
        (config / "cluster_celery.py").write_text(CELERY_CONFIG)
        log = self.home / "parts" / "migrate.log"
        process = local.start([*AIRFLOW, "db", "migrate"], log, self.env)
        self._leaders.append(process)
        assert process.wait(240) == 0, log.read_text()[-2000:]

    def _start(self, part: str) -> None:
        with self._lock:
            log = self.home / "parts" / f"{part}.{len(self._leaders):03}.log"
            self._processes[part] = local.start(self._command(part), log, self.env)
            self._leaders.append(self._processes[part])

    def _command(self, part: str) -> list[str]:
        kind, _, number = part.rpartition("-")
        if part in TRIGGERERS:
            return [*AIRFLOW, kind, "--skip-serve-logs"]
        if part in WORKERS:
            pid_file = self.home / f"{part}.{len(self._leaders)}.pid"
            options = ["--celery-hostname", f"w{number}@%h", "--pid", str(pid_file)]
            return [*AIRFLOW, "celery", kind, "--skip-serve-logs", *options]
        return [*AIRFLOW, part]

    def _start_again(self) -> None:
        while not self._ending.wait(0.5):
            with self._lock:
                for part, process in list(self._processes.items()):
                    if process.poll() is not None and not self._ending.is_set():
                        local.stop([process], timeout_s=1)
                        self._start(part)

    def _is_ready(self, worker: str) -> bool:
        process = self._processes[worker]
        newest = sorted((self.home / "parts").glob(f"{worker}.*.log"))[-1]
        return process.poll() is None and " ready." in newest.read_text(errors="replace")

    def _signal(self, number: int, parts: Iterable[str]) -> None:
        for pid in self.processes(*parts):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end(self) -> None:
        self._ending.set()
        with self._lock:
            self.resume(*self._processes)
            local.stop(self._leaders, timeout_s=1)
            assert list(local.members(self._leaders)) == []


AIRFLOW = (sys.executable, "-m", "airflow")


def put_connections(airflow: AirflowApi, connections: Mapping[str, Mapping[str, Any]]) -> None:
    """Enter connections as a user does, so that tasks read them from Airflow's database."""
    for conn_id, fields in connections.items():
        airflow.api("POST", "/connections", {"connection_id": conn_id, **fields})

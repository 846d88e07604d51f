"""A real `airflow standalone` for tests: processes to kill, tasks to clear, a REST API to ask.

Starts in 15 to 20 s, so share one per test module. It is started and stopped by the functions of
``scripts/airflow_local.py``, which thereby are under test too.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import psutil
import requests
from requests.adapters import HTTPAdapter

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "airflow_local.py"
# Several Airflows at once, on a machine that is busy, take so many times as long as one that is alone.
PATIENCE = 3
FINISHED = ("success", "failed")
# A triggerer takes over from one that has died after ten seconds, not thirty.
SOONER = {
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    # New and changed DAG files are read at once all the same.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
    # On a busy machine tasks may be sent long before the API server is up, and fail after ten seconds.
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
}

T = TypeVar("T")


def _load(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


local = _load(SCRIPT)


class AirflowApi:
    """The REST API of a running Airflow in which everybody is an admin."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    @cached_property
    def session(self) -> requests.Session:
        session: requests.Session = local.api_session(self.base_url)
        session.mount(self.base_url, HTTPAdapter(max_retries=local.BUSY))
        return session

    def api(self, method: str, path: str, json: Any = None) -> Any:
        """Ask ``/api/v2`` and return its JSON; an HTTP error raises with the text of the answer."""
        answer = self.session.request(method, f"{self.base_url}/api/v2{path}", json=json, timeout=30)
        if not answer.ok:
            raise requests.HTTPError(f"{method} {path}: {answer.status_code} {answer.text}", response=answer)
        return answer.json() if answer.content else None

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run, as soon as Airflow knows the DAG, and return its run id."""
        wait_for(lambda: self._knows(dag_id), f"DAG {dag_id} to be parsed", timeout_s=60)
        body = {"dag_run_id": f"test__{uuid4().hex}", "logical_date": None, "conf": dict(conf or {})}

        def started() -> str | None:
            try:
                return str(self.api("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])
            except requests.HTTPError as error:
                if error.response.status_code == 409:
                    return str(body["dag_run_id"])
                if error.response.status_code < 500:
                    raise AssertionError(str(error)) from error
                raise  # SQLite was busy: asked again

        return wait_for(started, f"a run of {dag_id} to start", timeout_s=30)

    def wait_for_run(self, dag_id: str, run_id: str, timeout_s: float = 60) -> str:
        """Wait until a run has ended; return its state."""

        def ended() -> str | None:
            state = str(self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
            return state if state in FINISHED else None

        return wait_for(ended, f"run {run_id} of {dag_id} to end", timeout_s)

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return a task instance as the REST API describes it: state, try_number, pid ..."""
        path = f"{_path(dag_id, run_id, task_id)}{'' if map_index < 0 else f'/{map_index}'}"
        found: dict[str, Any] = self.api("GET", path)
        return found

    def wait_for_task_state(  # noqa: PLR0917 - where the task is, then what it should be
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: str | Collection[str],
        map_index: int = -1,
        timeout_s: float = 60,
    ) -> dict[str, Any]:
        """Wait until a task instance is in one of the states; return it."""
        wanted = {states} if isinstance(states, str) else set(states)

        def reached() -> dict[str, Any] | None:
            task = self.task(dag_id, run_id, task_id, map_index)
            return task if task["state"] in wanted else None

        return wait_for(reached, f"{task_id} to be {' or '.join(sorted(wanted))}", timeout_s)

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> str:
        """Return the log of one try, one event per line, as the UI shows it."""
        path = f"{_path(dag_id, run_id, task_id)}/logs/{try_number}?full_content=true&map_index={map_index}"
        content = self.api("GET", path)["content"]
        return "\n".join(line if isinstance(line, str) else _log_line(line) for line in content)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return the value of one XCom."""
        return self.api("GET", f"{_path(dag_id, run_id, task_id)}/xcomEntries/{key}?deserialize=true")[
            "value"
        ]

    def clear(self, dag_id: str, run_id: str, task_ids: Collection[str], **options: Any) -> None:
        """Clear tasks of a run, whatever their state, as the button in the UI does."""
        body = {"dag_run_id": run_id, "task_ids": list(task_ids), "dry_run": False, "only_failed": False}
        self.api("POST", f"/dags/{dag_id}/clearTaskInstances", body | options)

    def _knows(self, dag_id: str) -> bool:
        return any(dag["dag_id"] == dag_id for dag in self.api("GET", "/dags?limit=1000")["dags"])


class Standalone(AirflowApi):
    """An Airflow that lives as long as the ``with`` block; nothing of it is left afterwards.

    :param dags_folder: its DAG files; new ones are found within 5 s.
    :param home: its AIRFLOW_HOME, best a fresh ``tmp_path``.
    :param env: further environment, such as ``AIRFLOW_CONN_FORMANT_DEFAULT``.
    """

    def __init__(self, dags_folder: Path, home: Path, env: Mapping[str, str] | None = None) -> None:
        port = local.free_port()
        super().__init__(f"http://127.0.0.1:{port}")
        self.home = home
        self.env: dict[str, str] = local.airflow_env(home, dags_folder, port) | SOONER | dict(env or {})
        self.leaders: list[Any] = []

    def __enter__(self) -> Self:
        log = self.home / "standalone.log"
        self.leaders.append(local.start(local.AIRFLOW, log, self.env))
        try:
            local.wait_until(
                lambda: local.airflow_healthy(self.base_url), self.leaders[0], log, timeout_s=PATIENCE * 120
            )
        except BaseException:
            local.stop(self.leaders)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        local.stop(self.leaders, timeout_s=1)
        if kind is None:
            assert self.processes() == []

    def processes(self) -> list[int]:
        """All processes of this Airflow that still run."""
        return list(local.members(self.leaders))

    def component(self, name: str) -> list[int]:
        """The processes of one part: ``triggerer``, ``scheduler``, ``dag-processor`` ..."""
        return [pid for pid in self.processes() if name in _command_line(pid)]

    def kill(self, pids: Collection[int]) -> None:
        """Send SIGKILL, and wait until the processes are gone."""
        victims = [psutil.Process(pid) for pid in pids]
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
        wait_for(lambda: not set(pids) & set(self.processes()), f"{pids} to die", timeout_s=10)

    def start_component(self, name: str) -> None:
        """Start one part again, after a ``kill`` of it."""
        command = [sys.executable, "-m", "airflow", name]
        self.leaders.append(local.start(command, self.home / f"{name}-{len(self.leaders)}.log", self.env))

    def task_pid(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> int:
        """Wait for a task to run; return the process that runs its code."""

        def running() -> int | None:
            pid = self.task(dag_id, run_id, task_id, map_index)["pid"]
            return pid if pid in self.processes() else None

        return wait_for(running, f"{task_id} to have a process", timeout_s=60)


def wait_for(found: Callable[[], T | None], what: str, timeout_s: float) -> T:
    """Return the first true answer of ``found``; an error meanwhile counts as not yet."""
    deadline, last = time.monotonic() + PATIENCE * timeout_s, None
    while time.monotonic() < deadline:
        try:
            if answer := found():
                return answer
        except requests.RequestException as error:
            last = error
        time.sleep(0.2)
    raise TimeoutError(f"waited {PATIENCE * timeout_s} s for {what}") from last


def _path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"


def _log_line(event: Mapping[str, Any]) -> str:
    return " ".join(f"{value}" if key == "event" else f"{key}={value}" for key, value in event.items())


def _command_line(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""

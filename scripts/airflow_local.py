"""Run a real Airflow with the example DAGs and a local FormantAI to call: ``make airflow``.

No phone rings as long as the connection ``formant_default`` points to the sandbox, as it does at the start.
Calls end 60 times sooner there than real ones, so that tasks which wait for them do not wait for minutes.
All files are in ``.airflow/`` of the checkout; delete that folder to start again. Ctrl-C stops both.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import psutil  # comes with Airflow
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

ROOT = Path(__file__).resolve().parent.parent
AIRFLOW = (sys.executable, "-m", "airflow", "standalone")
SANDBOX_KEY = "sandbox-key"
CALL_SPEED = 60
"""How many times sooner calls end. The sandbox's clock stays the real one, as Airflow schedules by that."""
SANDBOX = (
    *(sys.executable, "-m", "formant_provider.sandbox"),
    *("--seed-key", SANDBOX_KEY, "--call-speed", str(CALL_SPEED)),
)
SANDBOX_HOST = "http://127.0.0.1:"
BUSY = Retry(
    total=5,
    connect=0,
    read=0,
    status_forcelist=[500],
    allowed_methods=None,
    backoff_factor=0.5,
    raise_on_status=False,
)
"""While Airflow starts it may answer 500: its SQLite database has one writer at a time."""

Process = subprocess.Popen[bytes]
stop_asked = threading.Event()


class StartError(Exception):
    """A program did not start, or ended by itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Start both, print their addresses, wait for Ctrl-C or SIGTERM, stop both."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last: its terminal was closed
        signal.signal(number, lambda *_: stop_asked.set())
    started: list[Process] = []
    try:
        options = _options(arguments)
        with alone_in(options.home):
            _run(options, started)
    except requests.RequestException as error:
        print(f"Airflow's API server does not answer as it should: {error}", file=sys.stderr)
        return 1
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopping ...", flush=True)
        return 0
    finally:
        stop(started)


@contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """Keep a second start out of a folder: two Airflows over one database run each other's tasks."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "running").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(f"An Airflow runs in {home} already; give this one another --home") from None
        yield


def free_port(first: int = 0) -> int:
    """Return the first free port from ``first`` on; 0 lets the system choose."""
    for port in range(first, first + 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            return int(probe.getsockname()[1])
    raise StartError(f"no free port from {first} on")


def airflow_env(home: Path, dags: Path, port: int) -> dict[str, str]:
    """Return the environment of a local Airflow; settings of another Airflow in this shell are left out."""
    settings = {
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__HOST": "127.0.0.1",
        "API__PORT": port,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "FORMANT__CALLS_PAGE": True,
        "CORE__DAGS_FOLDER": dags,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__PARALLELISM": 4,
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
        "CORE__TEST_CONNECTION": "Enabled",
        "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
        "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
        "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    env |= {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
    # `airflow standalone` starts its parts as `airflow ...`, which must be the one of this interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return env | {"AIRFLOW_HOME": str(home), "PATH": path, "PYTHONPATH": str(ROOT)}


def start(command: Sequence[str], log: Path, env: dict[str, str]) -> Process:
    """Start a program in a session of its own, with its output in ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=ROOT, start_new_session=True)


def wait_until(healthy: Callable[[], bool], process: Process, log: Path, timeout_s: float = 120.0) -> None:
    """Wait until a program is healthy; if it does not get there, raise with the end of its log."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(requests.RequestException):  # it does not listen yet
            if healthy():
                return
        pause()
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
    raise StartError(f"{tail}\n\nThis did not start; its whole log is {log}")


def airflow_healthy(base_url: str) -> bool:
    """Return whether the API server answers and reports all parts of Airflow as healthy."""
    answer = requests.get(f"{base_url}/api/v2/monitor/health", timeout=5)
    return answer.ok and all(part["status"] == "healthy" for part in answer.json().values())


def pause(seconds: float = 0.3) -> None:
    """Sleep; raise KeyboardInterrupt if this script was asked to stop."""
    if stop_asked.wait(seconds):
        raise KeyboardInterrupt


def members(leaders: Sequence[Process]) -> Iterator[int]:
    """Return what programs started and what still runs: tasks leave the process group, not the session."""
    sessions = [leader.pid for leader in leaders]
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) in sessions and process.info["status"] != psutil.STATUS_ZOMBIE:
                yield process.pid


def stop(leaders: Sequence[Process], timeout_s: float = 7.0) -> None:
    """End programs and all that they started: SIGTERM, then SIGKILL for those still running."""
    for number, wait_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 1.0), (signal.SIGKILL, 1.0)):
        for pid in members(leaders):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + wait_s
        while any(members(leaders)) and time.monotonic() < deadline:
            time.sleep(0.1)


def api_session(base_url: str) -> requests.Session:
    """Return a session that may do everything in a local Airflow, where everybody is an admin."""
    session = requests.Session()
    session.mount(f"{base_url}/auth/", HTTPAdapter(max_retries=BUSY))
    token = session.get(f"{base_url}/auth/token", timeout=30).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def put_connection(base_url: str, host: str, home: Path) -> str:
    """Point ``formant_default`` to the sandbox, unless somebody has pointed it elsewhere."""
    session = api_session(base_url)
    session.mount(base_url, HTTPAdapter(max_retries=BUSY))
    found = _found(session, base_url, "formant_default")
    if found is not None and not str(found["host"]).startswith(SANDBOX_HOST):
        return "somewhere else: you have changed it, calls may be REAL"
    store = {"store_conn_id": "formant_calls", "store_secret": store_secret(home), "store_auto_upgrade": True}
    _put(session, base_url, "formant_calls", conn_type="sqlite", host=str(home / "formant_calls.db"))
    _put(
        session,
        base_url,
        "formant_default",
        conn_type="formant",
        host=host,
        password=SANDBOX_KEY,
        extra=json.dumps(store),
    )
    return "the sandbox"


def store_secret(home: Path) -> str:
    """Return the secret of the local call store, the same at each start."""
    from formant_provider.store.secrets import new_secret

    file = home / "formant_store_secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(new_secret())
    return file.read_text()


def make_store(home: Path) -> None:
    """Make the tables of the local call store, which the calls page reads before the first call."""
    from sqlalchemy import create_engine

    from formant_provider.store.store import set_up

    engine = create_engine(f"sqlite:///{home / 'formant_calls.db'}")
    set_up(engine, "connection 'formant_calls'", store_secret(home), now=datetime.now(UTC))
    engine.dispose()


def _found(session: requests.Session, base_url: str, conn_id: str) -> dict[str, Any] | None:
    """Return a connection; only an answer that there is none means that there is none."""
    answer = session.get(f"{base_url}/api/v2/connections/{conn_id}", timeout=30)
    if answer.status_code == requests.codes.not_found:
        return None
    answer.raise_for_status()
    return dict(answer.json())


def _put(session: requests.Session, base_url: str, conn_id: str, **fields: str) -> None:
    url = f"{base_url}/api/v2/connections"
    is_there = _found(session, base_url, conn_id) is not None
    send, url = (session.patch, f"{url}/{conn_id}") if is_there else (session.post, url)
    send(url, json={"connection_id": conn_id, **fields}, timeout=30).raise_for_status()


def _run(options: argparse.Namespace, started: list[Process]) -> NoReturn:
    home, sandbox_port = options.home.resolve(), free_port(max(8085, options.port + 1))
    url, sandbox = f"http://127.0.0.1:{options.port}", f"{SANDBOX_HOST}{sandbox_port}"
    env = airflow_env(home, options.dags.resolve(), options.port)
    log, sandbox_log = home / "standalone.log", home / "sandbox.log"
    print(f"Starting Airflow, this takes a minute. Its output goes to {log}", flush=True)
    started.append(start([*SANDBOX, "--port", str(sandbox_port)], sandbox_log, env))
    started.append(start(AIRFLOW, log, env))
    wait_until(lambda: requests.get(f"{sandbox}/sandbox/stats", timeout=5).ok, started[0], sandbox_log)
    wait_until(lambda: airflow_healthy(url), started[1], log)
    make_store(home)
    target, call_s = put_connection(url, sandbox, home), 142 / CALL_SPEED
    print(WELCOME.format(url=url, sandbox=sandbox, target=target, call_s=call_s, home=home), flush=True)
    while all(process.poll() is None for process in started):
        pause()
    raise StartError(f"A program ended by itself; the logs are in {home}")


WELCOME = """
Airflow is ready: {url}
  log in        not needed, everybody is admin
  DAGs          those with a schedule run by themselves; press the play button to run another
  calls go to   {target} (connection formant_default)
  call store    {home}/formant_calls.db (connection formant_calls)
  calls page    {url}/plugin/formant-calls
The sandbox: {sandbox}; the requests it received: {sandbox}/sandbox/stats
  a call of 142 seconds ends after {call_s:.1f}, and an example that waits for one after half a minute
To stop both: Ctrl-C
"""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--port", type=int, help="port of Airflow; default: 8080 or the next free one")
    add("--home", type=Path, default=ROOT / ".airflow", help="AIRFLOW_HOME; default: %(default)s")
    add("--dags", type=Path, default=ROOT / "dags_examples", help="dags folder; default: %(default)s")
    options = parser.parse_args(arguments)
    options.port = options.port or free_port(8080)
    return options


if __name__ == "__main__":
    sys.exit(main())

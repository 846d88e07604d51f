"""A real `airflow api-server` with users who have to log in, for tests of pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from support.standalone import local

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a password"


class ApiServer:
    """An API server that lives as long as the ``with`` block, over an empty metadata database.

    :param home: its AIRFLOW_HOME, best a fresh ``tmp_path``.
    :param users: the role of each.
    :param path: where it is, such as ``/airflow``.
    :param env: further environment, such as ``AIRFLOW_CONN_FORMANT_DEFAULT``.
    """

    def __init__(
        self, home: Path, users: Mapping[str, str], path: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        port = local.free_port()
        self.base_url = f"http://127.0.0.1:{port}{path}"
        self.home, self.path = home, path
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps(dict.fromkeys(users, PASSWORD)))
        settings = {
            "API__BASE_URL": self.base_url,
            "CORE__AUTH_MANAGER": "support.auth_manager.PerDagAuthManager",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in users.items()),
        }
        self.env: dict[str, str] = {
            **local.airflow_env(home, home / "dags", port),
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            **(env or {}),
        }
        self._leaders: list[Any] = []

    def __enter__(self) -> Self:
        airflow = (sys.executable, "-m", "airflow")
        (self.home / "dags").mkdir(exist_ok=True)
        subprocess.run([*airflow, "db", "migrate"], env=self.env, check=True, capture_output=True)
        log = self.home / "api-server.log"
        self._leaders.append(local.start([*airflow, "api-server"], log, self.env))
        try:
            local.wait_until(self._is_up, self._leaders[0], log)
        except BaseException:
            local.stop(self._leaders)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        local.stop(self._leaders, timeout_s=1)

    def token(self, user: str) -> str:
        """Log in, and return what a browser is given as the cookie ``_token``."""
        answer = requests.post(
            f"{self.base_url}/auth/token", json={"username": user, "password": PASSWORD}, timeout=30
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def _is_up(self) -> bool:
        return requests.get(f"{self.base_url}/api/v2/monitor/health", timeout=60).ok

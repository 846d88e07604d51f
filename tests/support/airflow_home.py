"""An Airflow home for one test session. Imports nothing of Airflow, and takes no time."""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

SETTINGS = {
    "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0",
    "AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE": "False",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


@cache
def use_own_airflow_home() -> Path:
    """Point Airflow at an empty home that goes with this process; to be called by ``tests/conftest.py``.

    Airflow reads its home and opens its database while it is imported, so this has to come first. Airflow
    variables of the developer's shell, connections among them, are dropped: no test may depend on them.
    """
    if "airflow" in sys.modules:
        raise RuntimeError("Airflow was imported before its home was set")
    home = Path(tempfile.mkdtemp(prefix="airflow-home-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    (home / "dags").mkdir()
    os.environ.update(SETTINGS, AIRFLOW_HOME=str(home), AIRFLOW__CORE__DAGS_FOLDER=str(home / "dags"))
    return home

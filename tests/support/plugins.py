"""Runs code in a process whose Airflow finds a plugin of ours, as each of its components does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(code: str, *arguments: str, plugin: str, folder: Path, **environment: str) -> Any:
    """Run code in a process of its own; return what it prints last.

    :param plugin: module and class, with a colon between them.
    :param folder: becomes its AIRFLOW_HOME.
    """
    module, _, name = plugin.partition(":")
    plugins = folder / "plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "ours.py").write_text(f"from {module} import {name}\n")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    settings = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "_AIRFLOW_PROCESS_CONTEXT": "server",
    }
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, env={**inherited, **settings, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])

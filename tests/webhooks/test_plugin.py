"""The receiver in Airflow's API server: nothing listens unless somebody has switched it on."""

from __future__ import annotations

import json
import tomllib
from functools import partial
from importlib import import_module
from pathlib import Path

from formant_provider.webhooks.plugin import SECTION, FormantWebhooksPlugin
from support.databases import Database
from support.plugins import run as run_with
from support.stores import new_store
from support.webhook_server import OTHER, SECRET, connection_to, event, signature

ROOT = Path(__file__).parents[2]
HEAVY = {
    "starlette",
    "fastapi",
    "uvicorn",
    "sqlalchemy",
    "requests",
    "cryptography",
    "formant_provider.store",
}

# Airflow's own way from its plugins to its web application; all that it would mount is in `app`. Other
# packages have plugins, too.
SERVE = """
import json, sys
from fastapi import FastAPI
from fastapi.testclient import TestClient
from airflow.api_fastapi.app import init_plugins

app = FastAPI()
init_plugins(app)
mounts = [route.path for route in app.routes if type(route).__name__ == "Mount" and "formant" in route.path]
is_made = "formant_provider.webhooks.service" in sys.modules
with TestClient(app) as client:
    answers = [
        (answer.status_code, answer.text)
        for method, path, body, headers in json.loads(sys.argv[1])
        for answer in [client.request(method, path, content=body, headers=headers)]
    ]
print(json.dumps([mounts, is_made, answers]))
"""


run = partial(run_with, plugin="formant_provider.webhooks.plugin:FormantWebhooksPlugin")


def requests_for(path: str, *, secret: str = SECRET) -> tuple[str, str, str, dict[str, str]]:
    body = json.dumps(event())
    return "POST", path, body, {"X-FormantAI-Signature": signature(body.encode(), secret)}


PATHS = ("/formant", "/formant/", "/formant/docs", "/formant/openapi.json", "/formant/webhooks", "/formant/x")


def test_nothing_listens_unless_it_is_switched_on(tmp_path: Path) -> None:
    """With Airflow's defaults there is no such address."""
    asked = [requests_for("/formant/webhooks/formant_default"), ("GET", "/formant/healthz", "", {})]
    mounts, is_made, answers = run(SERVE, json.dumps(asked), folder=tmp_path)
    assert (mounts, is_made) == ([], False)
    assert [status for status, _ in answers] == [404, 404]


def test_switched_on_it_receives_and_shows_nothing(sqlite: Database, tmp_path: Path) -> None:
    """Signed events are stored; nothing is made before the first request; every other path answers 404."""
    new_store(sqlite)
    asked = [
        requests_for("/formant/webhooks/other"),
        requests_for("/formant/webhooks/other", secret=OTHER),
        requests_for("/formant/webhooks/formant_default"),
        ("GET", "/formant/healthz", "", {}),
        *[("GET", path, "", {}) for path in PATHS],
    ]
    mounts, is_made, answers = run(
        SERVE,
        json.dumps(asked),
        folder=tmp_path,
        AIRFLOW__FORMANT__WEBHOOKS="True",
        AIRFLOW__FORMANT__WEBHOOK_CONN_IDS="other, third",
        AIRFLOW_CONN_CALLS_DB=json.dumps(sqlite.connection),
        AIRFLOW_CONN_OTHER=json.dumps(connection_to()),
        AIRFLOW_CONN_THIRD=json.dumps(connection_to()),
        AIRFLOW_CONN_FORMANT_DEFAULT=json.dumps(connection_to()),
    )
    assert (mounts, is_made) == (["/formant"], False)
    assert answers[0] == [200, '{"status":"stored"}']
    assert [status for status, _ in answers[1:4]] == [401, 404, 200]
    assert [status for status, _ in answers[4:]] == [404] * len(PATHS)
    assert {text for _, text in answers[4:]} <= {'{"error":"not found"}', '{"detail":"Not Found"}'}


LOADED = """
import json, sys
import airflow.plugins_manager, airflow.providers.common.compat.sdk
from airflow.providers.common.compat.sdk import conf
before = set(sys.modules)
from formant_provider.webhooks.plugin import FormantWebhooksPlugin
print(json.dumps([len(FormantWebhooksPlugin.fastapi_apps), sorted(set(sys.modules) - before)]))
"""


def test_other_components_load_nothing_for_it(tmp_path: Path) -> None:
    """Scheduler, workers and DAG processors import every plugin, also when it is switched on."""
    count, loaded = run(LOADED, folder=tmp_path, AIRFLOW__FORMANT__WEBHOOKS="True")
    assert count == 1
    assert not [name for name in loaded if name.startswith(tuple(HEAVY))]


def test_a_switch_that_is_no_boolean_is_off(tmp_path: Path) -> None:
    """Every component of Airflow imports the plugin, and starts all the same."""
    count, _ = run(LOADED, folder=tmp_path, AIRFLOW__FORMANT__WEBHOOKS="perhaps")
    assert count == 0


def test_airflow_finds_the_plugin_by_its_entry_point() -> None:
    """What is installed with the package leads to it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    path = project["entry-points"]["airflow.plugins"][FormantWebhooksPlugin.name]
    module, _, attribute = path.partition(":")
    assert getattr(import_module(module), attribute) is FormantWebhooksPlugin


def test_airflow_knows_the_options_and_their_defaults() -> None:
    """They are in its list of options, so that `airflow config list` shows them; it is off by default."""
    from airflow.providers.common.compat.sdk import conf

    from formant_provider.provider_info import CONFIG

    assert list(CONFIG) == [SECTION]
    options = CONFIG[SECTION]["options"]
    defaults = {name: options[name]["default"] for name in ("webhooks", "webhook_conn_ids")}
    assert defaults == {"webhooks": "False", "webhook_conn_ids": "formant_default"}
    assert conf.getboolean(SECTION, "webhooks", fallback=False) is False
    assert FormantWebhooksPlugin.fastapi_apps == []

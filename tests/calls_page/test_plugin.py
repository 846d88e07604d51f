"""The page as a plugin: there is none unless somebody has switched it on, and it costs nothing else."""

from __future__ import annotations

import json
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from formant_provider.calls_page.plugin import SECTION, FormantCallsPagePlugin, is_on
from support.plugins import run

ROOT = Path(__file__).parents[2]
PLUGIN = "formant_provider.calls_page.plugin:FormantCallsPagePlugin"

LOADED = """
import json, sys
import airflow.plugins_manager, airflow.providers.common.compat.sdk
from airflow.providers.common.compat.sdk import conf
before = set(sys.modules)
from formant_provider.calls_page.plugin import FormantCallsPagePlugin as Plugin
loaded = sorted(set(sys.modules) - before)
print(json.dumps([len(Plugin.fastapi_apps), len(Plugin.external_views), loaded]))
"""

# Airflow's own way from its plugins to its web application.
SERVE = """
import json, sys
from fastapi import FastAPI
from fastapi.testclient import TestClient
from airflow.api_fastapi.app import init_plugins
from airflow import plugins_manager

app = FastAPI()
init_plugins(app)
is_made = "formant_provider.calls_page.app" in sys.modules
with TestClient(app) as client:
    answer = client.get("/formant-calls/")
print(json.dumps([is_made, answer.status_code, "Not logged in" in answer.text]))
"""


def test_there_is_no_page_unless_it_is_switched_on() -> None:
    """With Airflow's defaults there is neither an address nor an entry in the menu."""
    assert FormantCallsPagePlugin.fastapi_apps == []
    assert FormantCallsPagePlugin.external_views == []


def test_switched_on_it_is_behind_the_log_in(tmp_path: Path) -> None:
    """It is made at the first request, which is refused to who is not logged in."""
    found = run(SERVE, plugin=PLUGIN, folder=tmp_path, AIRFLOW__FORMANT__CALLS_PAGE="True")
    assert found == [False, 401, True]


def test_components_load_nothing_for_it(tmp_path: Path) -> None:
    """Every process of Airflow imports the plugin, also when it is switched on."""
    apps, views, loaded = run(LOADED, plugin=PLUGIN, folder=tmp_path, AIRFLOW__FORMANT__CALLS_PAGE="True")
    assert (apps, views) == (1, 1)
    of_ours = {"formant_provider", "formant_provider.__about__", "formant_provider.calls_page"}
    assert set(loaded) <= {*of_ours, "formant_provider.calls_page.plugin"}


@pytest.mark.parametrize(("word", "is_meant"), [("True", True), ("False", False), ("perhaps", False)])
def test_a_switch_that_is_no_boolean_is_off(
    word: str, is_meant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every component of Airflow imports the plugin, and starts all the same."""
    monkeypatch.setenv("AIRFLOW__FORMANT__CALLS_PAGE", word)
    assert is_on() is is_meant


def test_airflow_finds_it_and_its_options() -> None:
    """The entry point leads to it, and the options are in Airflow's list; it is off by default."""
    from formant_provider.provider_info import CONFIG

    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "airflow.plugins"
    ]
    module, _, attribute = points[FormantCallsPagePlugin.name].partition(":")
    assert getattr(import_module(module), attribute) is FormantCallsPagePlugin
    options = CONFIG[SECTION]["options"]
    assert json.loads(options["calls_page"]["default"].lower()) is False
    assert options["calls_page_conn_ids"]["default"] == "formant_default"

"""What Airflow is told about this provider is true, and Airflow finds it."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import entry_points, requires
from pathlib import Path

import airflow
import jsonschema
import pytest

import formant_provider
from formant_provider import get_provider_info
from formant_provider.hooks.formant import FormantHook

INFO = get_provider_info()
SCHEMAS = Path(airflow.__file__).parent


def test_the_metadata_fits_airflow_s_schemas() -> None:
    """Airflow validates what a provider says of itself; the connection form has a stricter schema."""
    jsonschema.validate(INFO, json.loads((SCHEMAS / "provider_info.schema.json").read_text()))
    strict = json.loads((SCHEMAS / "provider.yaml.schema.json").read_text())
    jsonschema.validate(INFO["connection-types"], strict["properties"]["connection-types"])


def test_airflow_finds_the_provider_by_its_entry_point() -> None:
    """The entry point of the installed distribution leads to this metadata."""
    (entry,) = (e for e in entry_points(group="apache_airflow_provider") if e.module == "formant_provider")
    assert entry.dist is not None
    assert entry.dist.name == INFO["package-name"] == "airflow-provider-formant"
    assert entry.dist.version == formant_provider.__version__
    assert entry.load()() == INFO


def test_airflow_knows_the_connection_type() -> None:
    """Airflow's own registry of hooks leads from the connection type to the hook."""
    try:
        manager = import_module("airflow.sdk.providers_manager_runtime").ProvidersManagerTaskRuntime()
    except ImportError:  # Airflow 3.1
        manager = import_module("airflow.providers_manager").ProvidersManager()
    hook = manager.hooks["formant"]
    assert hook is not None
    assert hook.hook_class_name == f"{FormantHook.__module__}.{FormantHook.__name__}"
    assert hook.connection_id_attribute_name == FormantHook.conn_name_attr


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_every_module_that_is_named_can_be_imported(kind: str) -> None:
    """No module is announced that does not exist, and none that exists is left out."""
    named = {module for entry in INFO[kind] for module in entry["python-modules"]}
    folder = Path(formant_provider.__file__).parent / kind
    there = {
        f"formant_provider.{kind}.{path.stem}"
        for path in folder.glob("*.py")
        if path.stem not in {"__init__", "shared"}
    }
    assert named == there
    for module in named:
        import_module(module)


def test_every_notifier_and_decorator_that_is_named_exists() -> None:
    """What is announced can be imported, and every notifier and decorator there is is announced."""
    named = [*INFO["notifications"], *(entry["class-name"] for entry in INFO["task-decorators"])]
    for path in named:
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name))
    folder = Path(formant_provider.__file__).parent
    there = {
        f"formant_provider.{kind}.{path.stem}"
        for kind in ("notifications", "decorators")
        for path in (folder / kind).glob("*.py")
        if path.stem not in {"__init__", "event", "recording", "templates", "threads"}
    }
    assert {path.rpartition(".")[0] for path in named} == there


@pytest.mark.parametrize("entry", INFO["task-decorators"], ids=lambda entry: entry["name"])
def test_airflow_knows_the_decorator(entry: dict[str, str]) -> None:
    """Airflow's own registry leads from ``@task.formant_call`` to our function, and so for each."""
    from airflow.sdk import task

    module, _, name = entry["class-name"].rpartition(".")
    assert getattr(task, entry["name"]) is getattr(import_module(module), name)


def test_what_the_package_imports_is_declared() -> None:
    """Every library the package needs is a dependency of its own, not somebody else's by luck."""
    declared = " ".join(requires("airflow-provider-formant") or [])
    for name in ("apache-airflow>=3.1.0", "requests", "pendulum", "phonenumbers", "common-compat"):
        assert name in declared
    for name in ("starlette", "uvicorn", "pydantic"):
        assert f"{name}>=" in declared

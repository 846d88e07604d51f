"""What is switched on by looking at the Airflow it runs on: with a task state store, and without."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from airflow.api_fastapi.core_api.datamodels.connections import ConnectionResponse

from formant_provider.api.config import REGIONS
from formant_provider.api.store_config import STORE_KEYS
from formant_provider.api.webhook_config import WEBHOOK_KEYS
from formant_provider.sandbox import Sandbox
from support.calls import NUMBER, an_operator
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import HAS_RETRY_POLICIES, HAS_STATE_STORE, needs_state_store

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("sleeps")


def test_the_intent_is_kept_where_there_is_a_store(channel: FakeSupervisor) -> None:
    """With a task state store the task writes to it; without, it places its call all the same."""
    run = run_task(an_operator(), channel)
    assert run.state == "success"
    assert bool(run.sent("SetTaskStateStore")) is HAS_STATE_STORE
    assert bool(run.state_store) is HAS_STATE_STORE


def test_a_store_that_is_taken_away_is_not_asked_for(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """What counts is the store in the context of the task, and not the number of the version."""
    run = run_task(an_operator(), channel, state_store=False)
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert [type(msg).__name__ for msg in run.messages if "TaskStateStore" in type(msg).__name__] == []


def test_redials_need_the_store(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """redial_on works where there is a store, and is refused before anything is sent where there is none."""
    run = run_task(an_operator(redial_on={"busy"}, wait_for_completion=True, deferrable=True), channel)
    assert run.state == ("deferred" if HAS_STATE_STORE else "failed")
    assert sandbox.rings == ({NUMBER: 1} if HAS_STATE_STORE else {})


@needs_state_store
@pytest.mark.parametrize(
    ("began", "posts", "placement"), [(LONG_AGO, 1, "unconfirmed"), (datetime.now(UTC), 2, "found")]
)
def test_a_further_try_without_its_entry_may_have_sent(
    began: datetime, posts: int, placement: str, channel: FakeSupervisor, sandbox: Sandbox
) -> None:
    """Somebody has deleted it, or Airflow has: the key is sent again while it protects, and then never."""
    run_task(an_operator(), channel, logical_date=began)
    channel.state.clear()
    sandbox.advance(600)
    again = run_task(an_operator(), channel, try_number=2, logical_date=began)
    assert (again.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert again.xcoms["return_value"]["placement"] == placement
    assert sum(seen.method == "POST" for seen in sandbox.requests) == posts


def test_the_retry_policy_is_there_where_airflow_takes_one() -> None:
    """On an Airflow without retry policies the import says what is missing, and what to do."""
    if HAS_RETRY_POLICIES:
        assert import_module("formant_provider.retries").FORMANT_RETRY_POLICY
    else:
        with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or later.*leave it out"):
            import_module("formant_provider.retries")


@pytest.fixture(scope="module")
def form() -> dict[str, Any]:
    """The connection form as this Airflow's own service describes it to the browser."""
    # In a process of its own: Airflow before 3.3 puts stand-ins for form libraries into sys.modules.
    code = (
        "import json;"
        "from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService as S;"
        "print(json.dumps([h.model_dump(mode='json') for h in S.hook_meta_data()"
        " if h.connection_type == 'formant']))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (form,) = json.loads(out.stdout.splitlines()[-1])
    return dict(form)


def test_the_form_shows_its_fields_on_every_airflow(form: dict[str, Any]) -> None:
    """The region is a choice of two with a default; the timeouts are numbers that may be left out."""
    fields = form["extra_fields"]
    shown = ["region", "connect_timeout", "read_timeout", "conversation_url_template"]
    shown += [*STORE_KEYS, *WEBHOOK_KEYS]
    assert list(fields) == shown
    assert fields["region"]["value"] == "global"
    assert fields["region"]["schema"]["enum"] == list(REGIONS)
    for name in ("connect_timeout", "read_timeout"):
        assert set(fields[name]["schema"]["type"]) in ({"number", "null"}, {"integer", "null"})
        assert fields[name]["value"] is None


def test_the_form_names_the_key_and_hides_what_is_not_needed(form: dict[str, Any]) -> None:
    """The password field is labelled API key; login and schema are not shown."""
    standard = form["standard_fields"]
    assert (standard["password"]["title"], standard["host"]["title"]) == ("API key (required)", "Base URL")
    assert [name for name, field in standard.items() if field and field["hidden"]] == ["url_schema", "login"]


def test_the_key_never_leaves_airflow_s_api() -> None:
    """Where the key is kept, the password, Airflow's API shows stars."""
    row = {"connection_id": "formant_default", "conn_type": "formant", "password": "key-1234567"}
    optional = dict.fromkeys(ConnectionResponse.model_fields, None)
    shown = ConnectionResponse.model_validate({**optional, **row})
    assert shown.password == "***"
    assert "key-1234567" not in shown.model_dump_json()

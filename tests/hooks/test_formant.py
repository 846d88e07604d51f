from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from formant_provider import get_provider_info
from formant_provider.api.config import REGIONS
from formant_provider.api.errors import InvalidInput
from formant_provider.hooks.formant import FormantHook
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.provider_info import CONN_FIELDS
from formant_provider.sandbox import Fault, Sandbox
from support.scripted_server import Answer, ScriptedServer, Seen
from support.supervisor import FakeSupervisor, supervised_by
from support.task_run import run_task

KEY = "key/with:odd@signs"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY) as sandbox:
        yield sandbox


def config_of(connection: str | Mapping[str, Any], region: str | None = None) -> Any:
    with supervised_by(FakeSupervisor({"formant_default": connection})):
        return FormantHook(region=region).get_config()


def tried(connection: str | Mapping[str, Any]) -> tuple[bool, str]:
    with supervised_by(FakeSupervisor({"formant_default": connection})):
        return FormantHook().test_connection()


FORMS = {
    "uri": f"formant://:{quote(KEY, safe='')}@/?region=in&connect_timeout=2&read_timeout=7.5",
    "json": json.dumps(
        {
            "conn_type": "formant",
            "password": KEY,
            "extra": {"region": "in", "connect_timeout": 2, "read_timeout": 7.5},
        }
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_connection_from_the_environment_is_read(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """AIRFLOW_CONN_FORMANT_DEFAULT works as URI and as JSON, with region and timeouts."""
    monkeypatch.setenv("AIRFLOW_CONN_FORMANT_DEFAULT", FORMS[form])
    with supervised_by(FakeSupervisor()):
        config = FormantHook().get_config()
    assert config.base_url == REGIONS["in"]
    assert config.api_key == KEY
    assert (config.connect_timeout_s, config.read_timeout_s) == (2.0, 7.5)


def test_the_sandbox_s_own_connection_strings_are_read(sandbox: Sandbox) -> None:
    """What the sandbox prints can be pasted into the environment, as URI and as JSON."""
    for text in (sandbox.connection_uri(), {**json.loads(sandbox.connection_json())}):
        config = config_of(text)
        assert (config.base_url, config.api_key) == (sandbox.base_url, KEY)


def test_a_connection_as_the_form_saves_it_is_read() -> None:
    """The form saves empty fields as null or empty text; they mean the defaults."""
    extra = {"region": "in", "connect_timeout": None, "read_timeout": ""}
    saved = {"conn_type": "formant", "host": "", "password": KEY, "extra": json.dumps(extra)}
    config = config_of(saved)
    assert config.base_url == REGIONS["in"]
    assert (config.connect_timeout_s, config.read_timeout_s) == (5.0, 30.0)


STORE = {
    "store_conn_id": "call_store",
    "store_secret": "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
    "store_auto_upgrade": True,
    "call_cap": "2/1d",
    "calls_per_minute": 30,
    "max_concurrent_calls": 5,
}


def test_a_store_is_read_from_each_form_of_a_connection() -> None:
    """As JSON, as a URI where all is text, and as the form saves it, the store is the same."""
    fields = {"conn_type": "formant", "password": KEY}
    uri = f"formant://:{quote(KEY, safe='')}@/?{urlencode(STORE)}"
    read = [config_of(form).store for form in ({**fields, "extra": STORE}, uri)]
    assert read[0] == read[1] is not None
    assert (read[0].conn_id, read[0].auto_upgrade, read[0].max_concurrent_calls) == ("call_store", True, 5)
    saved = {**dict.fromkeys(CONN_FIELDS), "region": "in", "store_auto_upgrade": False, "call_cap": ""}
    assert config_of({**fields, "extra": saved}).store is None


def test_the_task_s_region_comes_before_the_connection_s() -> None:
    """A task may name its region; a base URL in the connection overrides every region."""
    connection = {"conn_type": "formant", "password": KEY, "extra": '{"region": "global"}'}
    assert config_of(connection, region="in").base_url == REGIONS["in"]
    assert config_of({**connection, "host": "https://p.example"}, region="in").base_url == "https://p.example"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"extra": "[1]"}, "extra"),
        ({"extra": '{"store_conn_id": "calls_db"'}, "extra"),
        ({"extra": "region=in"}, "extra"),
        ({"conn_type": "http"}, "conn_type"),
    ],
)
def test_a_wrong_connection_is_refused_by_the_field(fields: dict[str, Any], field: str) -> None:
    """The error names it. An extra that is cut off is not taken for none: it may name a call store."""
    with pytest.raises(InvalidInput) as caught:
        config_of({"conn_type": "formant", "password": KEY, **fields})
    assert caught.value.field == field


def test_the_connection_test_is_one_cheap_get(sandbox: Sandbox) -> None:
    """The button reads one record and never posts."""
    ok, message = tried(sandbox.connection_uri())
    assert ok
    assert sandbox.base_url in message
    (seen,) = sandbox.requests
    assert (seen.method, seen.path, dict(seen.query)) == (
        "GET",
        "/v1/conversations",
        {"limit": "1", "offset": "0"},
    )


def test_a_refused_key_is_said_to_be_refused_and_where(sandbox: Sandbox) -> None:
    """401 says the key was refused, by which URL, and not what the key was."""
    ok, message = tried({"conn_type": "formant", "host": sandbox.base_url, "password": "wrong-key"})
    assert not ok
    assert f"{sandbox.base_url} refused the API key" in message
    assert "wrong-key" not in message


def test_a_server_that_cannot_be_reached_is_named() -> None:
    """Nobody listens there: the sentence says where, so that a typo in the base URL shows."""
    with Sandbox() as stopped:
        uri = stopped.connection_uri()
    ok, message = tried(uri)
    assert not ok
    assert message.startswith(f"{stopped.base_url} cannot be reached.")


@pytest.mark.parametrize(
    "fault", [Fault.ERROR_500_BEFORE, Fault.DROP_BEFORE, Fault.GARBAGE, Fault.RATE_LIMIT]
)
def test_a_failing_server_fails_the_test_at_once(fault: Fault, sandbox: Sandbox) -> None:
    """A person waits at the button: one try, a sentence, and no exception."""
    sandbox.inject("GET /v1/conversations", fault)
    ok, message = tried(sandbox.connection_uri())
    assert not ok
    assert message.startswith("GET /v1/conversations: ")
    assert len(sandbox.requests) == 1


def test_a_wrong_field_fails_the_test_by_its_name() -> None:
    """A connection that cannot work says which field is at fault."""
    assert tried({"conn_type": "formant"}) == (
        False,
        "password: the connection has no API key; put it into the password field",
    )


def test_requests_say_which_airflow_asks(sandbox: Sandbox) -> None:
    """The User-Agent names this provider and Airflow, with their versions."""
    tried(sandbox.connection_uri())
    assert "airflow-provider-formant/" in sandbox.requests[0].headers["User-Agent"]
    assert "apache-airflow/3." in sandbox.requests[0].headers["User-Agent"]


def test_the_form_of_airflow_3_1_comes_from_the_same_data() -> None:
    """The hook's two form methods, which only 3.1 calls, describe what the metadata describes."""
    # In a process of its own: Airflow replaces the form library with stand-ins while it asks.
    code = (
        "import json;"
        "from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService as S;"
        "from unittest import mock; import sys;"
        "sys.modules.update({n: mock.MagicMock() for n in ('wtforms', 'wtforms.validators')});"
        "m = sys.modules; m['wtforms'].StringField = S.MockStringField;"
        "m['wtforms'].IntegerField = S.MockIntegerField;"
        "m['wtforms'].PasswordField = S.MockPasswordField; m['wtforms'].BooleanField = S.MockBooleanField;"
        "m['wtforms.validators'].Optional = S.MockOptional; m['wtforms.validators'].any_of = S.MockEnum;"
        "from formant_provider.hooks.formant import FormantHook as H;"
        "print(json.dumps([{k: v.param.dump() for k, v in H.get_connection_form_widgets().items()},"
        " H.get_ui_field_behaviour()]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    widgets, behaviour = json.loads(out.stdout.splitlines()[-1])
    (connection_type,) = get_provider_info()["connection-types"]
    assert list(widgets) == list(connection_type["conn-fields"])
    assert widgets["region"]["schema"]["enum"] == list(REGIONS)
    assert widgets["store_secret"]["schema"]["format"] == "password"
    assert widgets["webhook_secret"]["schema"]["format"] == "password"
    assert widgets["store_auto_upgrade"]["schema"]["type"] == ["boolean", "null"]
    assert widgets["max_concurrent_calls"]["schema"]["type"] == ["integer", "null"]
    assert behaviour["relabeling"] == connection_type["ui-field-behaviour"]["relabeling"]
    assert behaviour["hidden_fields"] == ["login", "schema"]


def test_keys_that_nothing_reads_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """A key in the extra that is none of ours is named in a warning, and only once a process."""
    connection = {"conn_type": "formant", "password": KEY, "extra": {"owner_team": "collections"}}
    with caplog.at_level("WARNING"):
        config_of(connection)
        config_of(connection)
    assert [record.message for record in caplog.records if "owner_team" in record.message] == [
        "The extra of connection 'formant_default' has keys that nothing reads: owner_team."
    ]


def test_a_wait_in_the_worker_notices_a_key_that_was_changed() -> None:
    """The key is changed while a task waits: its next poll sends the new one, and the task succeeds."""
    channel, accepted = FakeSupervisor(), ["old-key"]
    record = {"conversation_id": "c1", "agent_id": 456, "trace_id": "t1", "status": "completed"}

    def connect() -> None:
        channel.connections["formant_default"] = {
            "conn_type": "formant",
            "host": server.base_url,
            "password": accepted[0],
        }

    def answer(seen: Seen) -> Answer:
        if seen.headers["Authorization"] != f"Bearer {accepted[0]}":
            return Answer(401, {"error": {"type": "authentication_error", "message": "invalid api key"}})
        if seen.method == "POST":
            return Answer(201, {"data": {"agent_id": 456, "trace_id": "t1", "status": "initiated"}})
        if accepted[0] == "old-key":  # the first poll finds nothing, and the key is changed after it
            accepted[0] = "new-key"
            connect()
            return Answer(200, {"data": [], "total": 0})
        data = [record] if "?" in seen.path else record
        return Answer(200, {"data": data, "total": 1})

    with ScriptedServer(answer) as server:
        connect()
        operator = FormantCreateCallOperator(
            task_id="call",
            agent_id=456,
            parameters={"customer_phone": "+14155550100"},
            wait_for_completion=True,
            poll_interval=0.05,
            timeout=60,
        )
        run = run_task(operator, channel)
    assert run.state == "success", run.log_text
    assert run.xcoms["status"] == "completed"
    assert {seen.headers["Authorization"] for seen in server.seen} == {"Bearer old-key", "Bearer new-key"}
    assert "answered 401" not in run.log_text


def test_a_pickled_hook_holds_no_key() -> None:
    """What was read of the connection stays in the process."""
    connection = {"conn_type": "formant", "password": KEY}
    with supervised_by(FakeSupervisor({"formant_default": connection})):
        hook = FormantHook()
        assert hook.get_config().api_key == KEY
    assert KEY.encode() not in pickle.dumps(hook)

"""``make airflow`` may be started again in the folder of the time before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests
from sqlalchemy import create_engine

from formant_provider.store.store import open_up
from support.scripted_server import Answer, ScriptedServer
from support.standalone import SCRIPT, local


def test_the_local_call_store_is_the_same_at_each_start(tmp_path: Path) -> None:
    """The calls page can read it before the first call, and the second start finds the first secret."""
    secrets = set()
    for _ in range(2):
        local.make_store(tmp_path)
        secrets.add(local.store_secret(tmp_path))
    (secret,) = secrets
    engine = create_engine(f"sqlite:///{tmp_path / 'formant_calls.db'}")
    open_up(engine, "connection 'formant_calls'", secret)
    engine.dispose()
    assert (tmp_path / "formant_store_secret").stat().st_mode & 0o077 == 0


def test_an_api_server_that_is_busy_at_its_start_is_asked_again(tmp_path: Path) -> None:
    """While Airflow's database is written by others it answers 500, and the start goes on."""
    token, none = Answer(body={"access_token": "t"}), Answer(404, {"detail": "none"})
    busy, made = Answer(500, {"detail": "busy"}), Answer(201, {})
    with ScriptedServer(token, none, none, busy, made, none, made) as server:
        assert local.put_connection(server.base_url, "http://127.0.0.1:1", tmp_path) == "the sandbox"
        made_of = [seen.body["connection_id"] for seen in server.seen if seen.method == "POST"]
    assert made_of == ["formant_calls", "formant_calls", "formant_default"]


def test_a_connection_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    """Only where there is none is one made: it may lead elsewhere, with a key that is nowhere else."""
    token, busy = Answer(body={"access_token": "t"}), Answer(503, {"detail": "busy"})
    with ScriptedServer(token, busy) as server, pytest.raises(requests.HTTPError):
        local.put_connection(server.base_url, "http://127.0.0.1:1", tmp_path)
    assert {seen.method for seen in server.seen} == {"GET"}


@pytest.mark.parametrize(
    ("answer", "is_healthy"),
    [
        (Answer(200, {"scheduler": {"status": "healthy"}}), True),
        (Answer(200, {"scheduler": {"status": "unhealthy"}}), False),
        (Answer(500, {"detail": "busy"}), False),
    ],
)
def test_an_error_of_the_api_server_is_no_health(answer: Answer, is_healthy: bool) -> None:
    """It is waited for, as one that does not listen yet."""
    with ScriptedServer(answer) as server:
        assert local.airflow_healthy(server.base_url) is is_healthy


def test_a_second_airflow_does_not_start_in_the_folder_of_a_first(tmp_path: Path) -> None:
    """It says so, starts nothing, and touches nothing of the first one."""
    command = [sys.executable, str(SCRIPT), "--home", str(tmp_path)]
    with local.alone_in(tmp_path):
        second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (second.returncode, second.stdout) == (1, "")
    assert "An Airflow runs in" in second.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["running"]
    with local.alone_in(tmp_path):
        pass

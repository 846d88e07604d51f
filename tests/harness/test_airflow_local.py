"""``make airflow`` may be started again in the folder of the time before."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine

from formant_provider.store.store import open_up
from support.scripted_server import Answer, ScriptedServer
from support.standalone import local


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

"""``make airflow`` may be started again in the folder of the time before."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine

from formant_provider.store.store import open_up
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

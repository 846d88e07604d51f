"""Whether a triggerer is alive, without which deferred tasks wait for ever: asked of who can tell from here.

A worker knows the API server, which tells anybody; a machine with the metadata database reads it there. Where
neither can be asked it is said so.
"""

from __future__ import annotations

import contextlib
from typing import Any

from formant_provider.check.findings import Finding, State

SUBJECT = "triggerer"
_TIMEOUT_S = 5
_HEALTH = "/api/v2/monitor/health"
_START = "Start one with `airflow triggerer`"


def check_triggerer() -> Finding:
    """Ask the API server, then the database."""
    for health in (_of_api_server(), _of_database()):
        if health is not None:
            return _about(health)
    text = "cannot be seen from here: neither the API server nor the metadata database answers."
    return Finding(
        SUBJECT, State.NOT_CHECKED, text, "Run `airflow jobs check --job-type TriggererJob` where it runs."
    )


def _about(health: dict[str, Any]) -> Finding:
    status = health.get("status")
    if status == "healthy":
        return Finding(SUBJECT, State.OK, "one is alive.")
    if health.get("latest_triggerer_heartbeat") is None:
        to_do = f"{_START}, if tasks wait with deferrable=True, or for a call list."
        return Finding(SUBJECT, State.WARNING, "none has ever run.", to_do)
    text = f"none is alive; the last heartbeat was at {health['latest_triggerer_heartbeat']}."
    return Finding(SUBJECT, State.PROBLEM, text, f"{_START}: deferred tasks wait until there is one.")


def _of_api_server() -> dict[str, Any] | None:
    """Return what the API server says of triggerers; ``None`` where it is not known, or does not say."""
    import requests

    for base_url in _api_servers():
        with contextlib.suppress(requests.RequestException, ValueError, LookupError, TypeError):
            answer = requests.get(base_url + _HEALTH, timeout=_TIMEOUT_S, allow_redirects=False)
            health = answer.json()
            if answer.ok and health["metadatabase"]["status"] == "healthy":
                return dict(health["triggerer"])
    return None


def _api_servers() -> list[str]:
    """Return where the configuration says that the API server is."""
    from airflow.providers.common.compat.sdk import conf

    execution = (conf.get("core", "execution_api_server_url", fallback=None) or "").rstrip("/")
    found = [conf.get("api", "base_url", fallback=None), execution.removesuffix("/execution")]
    return list(dict.fromkeys(url.rstrip("/") for url in found if url and url.startswith("http")))


def _of_database() -> dict[str, Any] | None:
    """Return what the metadata database says of triggerers; ``None`` where it cannot be read."""
    with contextlib.suppress(Exception):  # a worker has no database, or not the rights
        from airflow.api.common.airflow_health import get_airflow_health

        health = get_airflow_health()
        if health["metadatabase"]["status"] == "healthy":
            return dict(health["triggerer"])
    return None

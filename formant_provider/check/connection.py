"""Whether the API can be used as the connection says: its fields, the region, key, clock and agent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from formant_provider.api.config import DEFAULT_REGION, REGIONS, extra_of, unknown_keys
from formant_provider.api.errors import FormantError, InvalidInput, NotFound
from formant_provider.api.retry import RetryPolicy
from formant_provider.check.findings import Finding, State
from formant_provider.check.refusals import about_refusal
from formant_provider.core.vendor_clock import skew_of

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.hooks.formant import FormantHook

# Calls are found again by when they began. A wrong clock is corrected for, but hides what is wrong with it.
CLOCKS_MAY_DIFFER_BY = timedelta(seconds=60)
SUBJECTS = ("connection", "region", "API", "API key", "clock", "agent")
_ONE_SEND = RetryPolicy(max_attempts=1)


def check_connection(hook: FormantHook) -> Iterator[Finding]:
    """Read the connection. The last finding is a problem if it cannot be used."""
    conn_id = hook.formant_conn_id
    try:
        config, extra = hook.get_config(), extra_of(hook.get_connection(conn_id))
    except InvalidInput as error:
        to_do = f"Correct the field {error.field} of connection {conn_id!r}."
        subject = "region" if error.field == "region" else "connection"
        yield Finding(subject, State.PROBLEM, f"{str(error).rstrip('?.')}.", to_do)
        return
    except Exception as error:  # whatever Airflow, its database or its secrets backend has to say
        yield _unreadable(conn_id, error)
        return
    yield Finding("connection", State.OK, f"{conn_id!r} can be read; it leads to {config.base_url}.")
    if ignored := unknown_keys(extra):
        text = f"its extra has keys that nothing reads: {', '.join(ignored)}."
        yield Finding("connection", State.WARNING, text, "Check their spelling, or remove them.")
    yield _about_region(config.base_url, str(extra.get("region") or DEFAULT_REGION).strip())


def check_api(hook: FormantHook, agent_id: int | None) -> Iterator[Finding]:
    """Ask the API for one conversation, and for one of the agent. Nothing is asked after a problem."""
    with hook.get_conn(_ONE_SEND) as client:
        try:
            client.list_conversations(limit=1)
        except FormantError as error:
            yield about_refusal(client.base_url, error)
            return
        yield Finding("API key", State.OK, f"{client.base_url} accepted it.")
        yield from _about_clock(client)
        yield _about_agent(client, agent_id)


def _unreadable(conn_id: str, error: Exception) -> Finding:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    if isinstance(error, AirflowNotFoundException):
        # Airflow passes over a metadata database that cannot be read, and then says the same.
        text = f"{conn_id!r} does not exist for Airflow on this machine, or its database cannot be read."
        to_do = "Create it, name another with --conn-id, or run this where the metadata database can be read."
        return Finding("connection", State.PROBLEM, text, to_do)
    text = f"{conn_id!r} cannot be read ({type(error).__name__})."
    to_do = "Check the form of the connection, and the secrets backend and database of Airflow."
    return Finding("connection", State.PROBLEM, text, to_do)


def _about_region(base_url: str, region: str) -> Finding:
    if base_url == REGIONS[region]:
        return Finding("region", State.OK, f"{region!r}.")
    text = f"the base URL of the connection overrides region {region!r}, also that of tasks."
    return Finding("region", State.OK, text)


def _about_clock(client: FormantClient) -> Iterator[Finding]:
    skew = skew_of(client.server_date, datetime.now(UTC))
    if skew is None:
        return
    seconds = abs(skew.total_seconds())
    if abs(skew) <= CLOCKS_MAY_DIFFER_BY:
        yield Finding("clock", State.OK, "that of the API and that of this machine agree.")
        return
    side = "ahead of" if skew > timedelta(0) else "behind"
    text = f"that of the API is {seconds:.0f} s {side} that of this machine."
    to_do = "Let NTP set the clock of this machine: schedules and calling hours go by it."
    yield Finding("clock", State.WARNING, text, to_do)


def _about_agent(client: FormantClient, agent_id: int | None) -> Finding:
    if agent_id is None:
        return Finding(
            "agent", State.NOT_CHECKED, "none was named: --agent-id ID looks for its conversations."
        )
    try:
        page = client.list_conversations(agent_id, limit=1)
    except NotFound:
        to_do = "Look up the id in the FormantAI dashboard of this region and account."
        return Finding("agent", State.PROBLEM, f"the API does not know agent {agent_id} (404).", to_do)
    except FormantError as error:
        return about_refusal(client.base_url, error)
    if page.items and page.items[0].agent_id in {agent_id, None}:
        return Finding("agent", State.OK, f"agent {agent_id} has conversations.")
    text = (
        f"no conversation of agent {agent_id} is on record: it is new, or there is no such agent. The API"
        " has no list of agents."
    )
    to_do = "Compare the id with the FormantAI dashboard of this region and account."
    return Finding("agent", State.WARNING, text, to_do)

"""A process that places calls with a store over and over, as a worker of Airflow does with its tasks."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import FormantError
from formant_provider.api.retry import RetryPolicy
from formant_provider.core.calls.facts import CallCallbacks, Policy
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.placement import CallPlacing, Placement
from formant_provider.core.keys import key_for_name
from formant_provider.store.engines import create
from formant_provider.store.store import Store, open_up
from support.ledgers import CALL
from support.stores import asked, ledger_in

MOST_TRIES = 100
LEASE = timedelta(seconds=5)


def key_of(person: str) -> str:
    """The key of the one call to a person that all workers ask for."""
    return key_for_name(name="reminder", agent_id=CALL.agent_id, recipient=person)


def place(store: Store, base_url: str, api_key: str, person: str, **who: Any) -> Placement:
    """Place the call to a person, as one try of a task; who asks for it are fields of ``Asked``."""
    call = replace(CALL, parameters=(("customer_phone", person),), idempotency_key=key_of(person))
    what = asked(call.idempotency_key, person, **who)
    ledger = ledger_in(store, Intent, what, guesses=what.try_number == 1, lease=LEASE)
    callbacks = CallCallbacks(now=lambda: datetime.now(UTC), sleep=time.sleep)
    config = ClientConfig(base_url, api_key)
    with FormantClient(config, retry_policy=RetryPolicy()) as client:
        policy = Policy(taken_since=None, lookup_timeout_s=10)
        return CallPlacing(call, client, ledger, policy, callbacks).run()


def place_all(where: tuple[str, str, str, str], people: Sequence[str], name: str, told: Path) -> None:
    """Place a call to each of the people, in an order of its own, with as many tries as it takes.

    :param where: URL and secret of the store, URL and key of the API.
    :param told: file into which results and trace ids are written, by person.
    """
    url, secret, base_url, api_key = where
    engine = create(url)
    came: dict[str, tuple[str, str | None]] = {}
    for person in random.Random(name).sample(people, len(people)):  # noqa: S311 - an order, no secret
        for try_number in range(1, MOST_TRIES):
            with suppress(FormantError):
                store = open_up(engine, "the worker's", secret)
                placed = place(store, base_url, api_key, person, task_id=name, try_number=try_number)
                came[person] = placed.result.value, placed.receipt and placed.receipt.trace_id
                break
            time.sleep(0.2)
    told.write_text(json.dumps(came))

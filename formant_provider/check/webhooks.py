"""Whether an event that is sent to the public URL reaches the call store, by the receiver's own check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.check.findings import Finding, State

if TYPE_CHECKING:
    from formant_provider.hooks.formant import FormantHook

SUBJECT = "webhooks"


def check_webhooks(hook: FormantHook, url: str | None) -> Iterator[Finding]:
    """Send a signed test event and an unsigned one to the URL.

    :param url: the public one, which the dashboard has; ``None`` when nobody said.
    """
    if hook.get_config().webhooks is None:
        yield _not_received(hook.formant_conn_id, url)
        return
    if url is None:
        yield Finding(
            SUBJECT, State.NOT_CHECKED, "--webhook-url names the public address to send an event to."
        )
        return
    from formant_provider.webhooks.check import findings_about

    try:
        for found in findings_about(url, hook.formant_conn_id):
            state = State.PROBLEM if not found.is_well else State.WARNING if found.is_note else State.OK
            yield Finding(SUBJECT, state, found.text)
    except FormantError as error:
        text = f"{error}"
        if isinstance(error, InvalidInput) and error.field == "--url":  # as the command for webhooks has it
            text = f"--webhook-url: {error.reason}"
        yield Finding(SUBJECT, State.PROBLEM, f"{text}.", "Correct this, and run the check again.")


def _not_received(conn_id: str, url: str | None) -> Finding:
    if url is None:
        return Finding(SUBJECT, State.NOT_CHECKED, "the connection has no webhook_secret: none is accepted.")
    text = f"the connection {conn_id!r} has no webhook_secret, so no event is accepted."
    return Finding(
        SUBJECT, State.PROBLEM, text, "Set webhook_secret, and the same in the FormantAI dashboard."
    )

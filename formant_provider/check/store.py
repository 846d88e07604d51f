"""Whether the call store can be used: is there, of this version, and opened by the connection's secret."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.check.findings import Finding, State

if TYPE_CHECKING:
    from formant_provider.hooks.formant import FormantHook

SUBJECT = "call store"
_UNTIL_THEN = "Correct this: until then no task of this connection places a call."


def check_store(hook: FormantHook) -> Iterator[Finding]:
    """Open the store, and make or change no table: that is for a task, or for an administrator."""
    config = hook.get_config().store
    if config is None:
        yield Finding(SUBJECT, State.NOT_CHECKED, "the connection names none.")
        return
    from formant_provider.store.holding import held
    from formant_provider.store.opening import open_store

    try:
        store = open_store(replace(config, auto_upgrade=False))
        hold = held(store)
    except InvalidInput as error:
        yield _about(error, is_made_by_itself=config.auto_upgrade)
        return
    except FormantError as error:
        yield Finding(SUBJECT, State.PROBLEM, _sentence(error), _UNTIL_THEN)
        return
    yield Finding(SUBJECT, State.OK, f"connection {config.conn_id!r} leads to one of this version.")
    if hold is not None:
        to_do = "Release them with `python -m formant_provider.store hold off` when they may go on."
        yield Finding(SUBJECT, State.WARNING, f"all call lists are held {hold}.", to_do)


def _about(error: InvalidInput, *, is_made_by_itself: bool) -> Finding:
    from formant_provider.api.errors import StoreMisconfigured

    if is_made_by_itself and isinstance(error, StoreMisconfigured) and "store upgrade" in str(error):
        to_do = "Nothing: store_auto_upgrade is set, so the first task does it."
        return Finding(SUBJECT, State.WARNING, _sentence(error), to_do)
    return Finding(SUBJECT, State.PROBLEM, _sentence(error), _UNTIL_THEN)


def _sentence(error: FormantError) -> str:
    return f"{error}".rstrip(".") + "."

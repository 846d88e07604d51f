"""``rotate``: exchanges the secret of a store. No digest changes, so nobody is forgotten by it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import InvalidInput
from formant_provider.store.commands.printing import add_json, show, user
from formant_provider.store.events import append
from formant_provider.store.kinds import ROTATED, STORE
from formant_provider.store.secrets import opened, rewrapped
from formant_provider.store.store import DIGEST_KEY, change, to_ms

if TYPE_CHECKING:
    from formant_provider.store.store import Store

_STEPS = """The secret is exchanged in three steps, and calls are placed meanwhile:

  1. In the connection, put the new secret in front of the old one: "store_secret": "NEW,OLD".
     Wait until every worker reads it, if you keep connections where they are cached.
  2. Run this command: the store is opened by the first of the two from then on.
  3. In the connection, keep only the new one: "store_secret": "NEW"."""


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    parser = subparsers.add_parser(
        "rotate",
        help="exchange the secret of the store",
        description=_STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_json(parser)
    parser.set_defaults(run=_rotate)


def _rotate(arguments: argparse.Namespace, store: Store) -> int:
    was_changed = rotate(store, arguments.config.secret, by=user(), now=datetime.now(UTC))
    done = "is now" if was_changed else "was already"
    text = f"The store {done} opened by the first secret of the connection. Keep only that one there."
    show(arguments, {"was_changed": was_changed}, [text])
    return 0


def rotate(store: Store, secret: str, *, by: str, now: datetime) -> bool:
    """Wrap the digest key with the first of several secrets; return whether another one opened it before.

    :param secret: as in the connection, ``"new,old"``.
    :param by: who does it, in a word.
    :raises InvalidInput: there is one secret alone.
    """
    first, *others = (part.strip() for part in secret.split(","))
    if not others:
        reason = (
            "is one secret alone. Put a new one in front of it, with a comma between them, and run this again"
        )
        raise InvalidInput("store_secret", reason)
    exchanged: list[bool] = []

    def by_first(wrapped: str) -> str:
        try:
            opened(wrapped, first)
        except InvalidInput:
            exchanged.append(True)
            return rewrapped(wrapped, secret)
        return wrapped

    with store.writing() as conn:
        change(conn, DIGEST_KEY, by_first)
        if exchanged:
            append(conn, store.digests, at=to_ms(now), kind=ROTATED, subject=STORE, payload={"by": by})
    return bool(exchanged)

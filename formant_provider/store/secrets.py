"""How a store knows people without their numbers: by digests, under a key of its own.

The digest key is random, lies in the store, and is wrapped there with the ``store_secret`` of the connection,
as Airflow wraps its connections with its Fernet key. So a copy of the database tells nothing without the
connection, a change of the API key changes no digest, and a secret is exchanged without knowing a number.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from formant_provider.api.errors import InvalidInput
from formant_provider.store.schema import DIGEST_LENGTH

_KEY_BYTES = 32


@dataclass(frozen=True)
class Digests:
    """Turns numbers and keys into digests, the same for as long as the store exists."""

    key: bytes = field(repr=False)

    def recipient(self, number: str) -> str:
        """Return the digest of a number in E.164."""
        return self._digest("recipient", number)

    def idempotency_key(self, key: str) -> str:
        """Return the digest of an idempotency key."""
        return self._digest("key", key)

    def account(self, base_url: str, api_key: str) -> str:
        """Return the digest of an account at the vendor."""
        return self._digest("account", f"{base_url}\x00{api_key}")

    def people(self, rows: Iterable[str]) -> str:
        """Return the digest of all people of a batch call, in whatever order.

        :param rows: of each, the digest of the number and how the call to them counts.
        """
        return self._digest("people", "\x00".join(sorted(rows)))

    def task(self, *place: object) -> str:
        """Return a short mark of a task, for whoever is at work on one of its calls, or of another's."""
        return self._digest("task", "\x00".join(map(str, place)))[: DIGEST_LENGTH // 2]

    def chained(self, *parts: object) -> str:
        """Return the hash of a link in the chain of events."""
        text = "\x00".join(map(str, ("event", *parts)))
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()

    def webhook_event(self, conn_id: str, event_id: str) -> str:
        """Return the digest of an event, by which it is known when it is sent again."""
        return self._digest("webhook event", f"{conn_id}\x00{event_id}")

    def call_list(self, *place: str) -> str:
        """Return the digest of the task of a call list."""
        return self._digest("call list", "\x00".join(place))

    def happening(self, *parts: object) -> str:
        """Return the digest of what an event tells, which another event may tell as well."""
        return self._digest("happening", "\x00".join(map(str, parts)))

    def sealed(self, body: bytes) -> str:
        """Encrypt what nobody may read in the database; a change of the secret leaves it readable."""
        return self._box.encrypt(body).decode()

    def unsealed(self, text: str) -> bytes:
        """Return what was encrypted.

        :raises InvalidToken: it was not encrypted with the key of this store, or was changed since.
        """
        return self._box.decrypt(text.encode())

    @cached_property
    def _box(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(hmac.digest(self.key, b"webhook bodies", "sha256")))

    def _digest(self, purpose: str, text: str) -> str:
        return hmac.digest(self.key, f"{purpose}\x00{text}".encode(errors="surrogatepass"), "sha256").hex()[
            :DIGEST_LENGTH
        ]


def new_secret() -> str:
    """Return a new ``store_secret``."""
    return Fernet.generate_key().decode()


def new_digest_key(secret: str) -> str:
    """Return a new digest key, wrapped."""
    return _box(secret).encrypt(secrets.token_bytes(_KEY_BYTES)).decode()


def rewrapped(wrapped: str, secret: str) -> str:
    """Return the same digest key, wrapped with the first of several secrets."""
    return _box(secret).encrypt(opened(wrapped, secret).key).decode()


def opened(wrapped: str, secret: str) -> Digests:
    """Return the digests of a store.

    :param secret: one secret, or several with commas between them, any of which may be the one.
    :raises InvalidInput: none of them is.
    """
    try:
        return Digests(_box(secret).decrypt(wrapped.encode()))
    except InvalidToken:
        pass
    raise InvalidInput(
        "store_secret",
        "does not open this call store. Give the connection the secret with which the store was set up; while"
        " it is exchanged, both, with a comma between them",
    )


def _box(secret: str) -> MultiFernet:
    try:
        return MultiFernet([Fernet(part.strip()) for part in secret.split(",")])
    except ValueError:
        pass
    raise InvalidInput(
        "store_secret",
        "must be a secret in the form of a Fernet key, such as the one with which it was set up",
    )

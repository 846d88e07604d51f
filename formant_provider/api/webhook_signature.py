"""Whether a webhook was signed with a secret that we share with the vendor.

Vendor page: https://docs.formantai.com/webhooks/security
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from enum import StrEnum

HEADER = "X-FormantAI-Signature"
# The vendor writes no more than "sha256=" + hex, so the digits may be of either case, and nothing else may
# differ.
_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})", re.ASCII)


class Verdict(StrEnum):
    """What is found of a signature."""

    VALID = "valid"
    MISSING = "missing"
    MALFORMED = "malformed"
    WRONG = "wrong"


def verdict(body: bytes, header: str | None, secrets: Sequence[str]) -> Verdict:
    """Compare the signature of a webhook with those that it should have, in a time that tells nothing.

    :param body: the bytes as they came; equal JSON in other bytes has another signature.
    :param header: the text of :data:`HEADER`; ``None`` when there is none.
    :param secrets: any of which may be the one; with none, no signature is valid.
    """
    if not header:
        return Verdict.MISSING
    found = _SIGNATURE.fullmatch(header)
    if found is None:
        return Verdict.MALFORMED
    given = bytes.fromhex(found[1])
    # All of them, so that the time does not tell which secret it was.
    matches = [hmac.compare_digest(given, _digest(body, secret)) for secret in secrets]
    return Verdict.VALID if any(matches) else Verdict.WRONG


def signature(body: bytes, secret: str) -> str:
    """Return the text of the header that the vendor sends with these bytes."""
    return f"sha256={_digest(body, secret).hex()}"


def _digest(body: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), body, "sha256")

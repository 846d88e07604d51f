"""Recognises a recipient without the number being written down.

A trigger's arguments lie in Airflow's database as plain text, and phone numbers are so few that any digest of
them alone can be guessed. So the digest is keyed with the API key, which lies elsewhere.
"""

from __future__ import annotations

import hashlib
import re

# A number is written with these alone. With any other sign in it some digits may be hidden: +1415*****00.
_NUMBER = re.compile(r"\s*(?:tel:)?[+\d\s().\-/\u2010-\u2015]+", re.IGNORECASE)
_FEWEST_DIGITS = 7


def whole_digits(number: str | None) -> str:
    """Return the digits of a number, however it is written; no digits for none, and for a part of one."""
    digits = re.sub(r"\D", "", number) if number and _NUMBER.fullmatch(number) else ""
    return digits if len(digits) >= _FEWEST_DIGITS else ""


class Fingerprints:
    """Turns numbers into marks, for one API key and one agent, whose marks can be compared with no others."""

    def __init__(self, api_key: str, agent_id: int | None) -> None:
        self._key = hashlib.sha256(f"formant recipient {agent_id} {api_key}".encode()).digest()
        self._sign = self._digest("", 4)
        self._marks: dict[str, str | None] = {}

    def mark(self, number: str | None) -> str | None:
        """Return the mark of a number, however it is written; ``None`` for none, and for a part of one."""
        if not number:
            return None
        if number not in self._marks:  # a poll asks for each several times
            self._marks[number] = self._mark(number)
        return self._marks[number]

    def _mark(self, number: str) -> str | None:
        digits = whole_digits(number)
        return f"{self._sign}.{self._digest(digits, 16)}" if digits else None

    def seal(self, text: str) -> str:
        """Return what tells a private text from others, and nothing else of it."""
        return self._digest(text, 16)

    def made(self, mark: str | None) -> bool:
        """Whether a mark can be compared with ours. Not after the API key was changed."""
        return mark is not None and mark.startswith(f"{self._sign}.")

    def _digest(self, text: str, size: int) -> str:
        return hashlib.blake2b(text.encode(), key=self._key, digest_size=size).hexdigest()

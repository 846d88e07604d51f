"""What to do about an error, in words for the person who reads the log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """What to do about an error, in a sentence or two.

    :param call: when a call was to be placed.
    :param batch_call: when a batch call was to be placed; by default the same.
    :param read: when something was only read; by default the same as for a call.
    :param call_list: when a list of calls was worked off; by default the same.
    """

    call: str
    batch_call: str = ""
    read: str = ""
    call_list: str = ""

    def on(self, subject: str) -> str:
        """Return the advice on a ``call``, a ``batch_call``, a ``read`` or a ``call_list``."""
        return getattr(self, subject) or self.call


# By the reason of a call that is not allowed, where the advice of its error does not fit.
NOT_ALLOWED = {
    "suppressed": Advice("There is nothing to do: nobody on the list is called."),
    "capped": Advice(
        call='Clear this task then, or let on_capped="schedule" schedule the call.',
        batch_call="Clear this task when call_cap allows calls to these people.",
    ),
}

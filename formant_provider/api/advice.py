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
    :param transcription: when audio was to be transcribed; by default the same.
    """

    call: str
    batch_call: str = ""
    read: str = ""
    call_list: str = ""
    transcription: str = ""

    def on(self, subject: str) -> str:
        """Return the advice on a subject: the name of one of the fields."""
        return getattr(self, subject) or self.call


REFUSED = "A retry would be refused again; what the API said tells what to correct."
NOT_THERE = Advice(
    call="Check that agent_id and conversation_id exist in this region and belong to the account of this"
    " API key.",
    batch_call="Check that the agent or batch call exists in this region and belongs to the account of"
    " this API key.",
    read="Check that it exists in this region and belongs to the account of this API key.",
    transcription="Check the region of the connection.",
)
KEY_USED = Advice(
    call="This key was used within the last 24 hours: by an earlier try of this task, by another task"
    " with the same idempotency_key, or by another mapped task with the same agent and recipient. Look"
    " for the call in the FormantAI dashboard. To place a second call on purpose, give it an"
    " idempotency_key of its own.",
    batch_call=REFUSED,
    read=REFUSED,
)

# By the reason of a call that is not allowed, where the advice of its error does not fit.
NOT_ALLOWED = {
    "suppressed": Advice("There is nothing to do: nobody on the list is called."),
    "capped": Advice(
        call='Clear this task then, or let on_capped="schedule" schedule the call.',
        batch_call="Clear this task when call_cap allows calls to these people.",
    ),
}

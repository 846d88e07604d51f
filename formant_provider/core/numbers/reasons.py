"""Why a contact is not called: the reasons, and each in a sentence."""

from __future__ import annotations

from enum import StrEnum

# The way out when a number can be read in two ways.
WHICH_READING = (
    'Put a plus sign before the country code, or say numbers="national" or numbers="e164_without_plus"'
)


class Reason(StrEnum):
    """Why a contact is not called. The first that applies, in this order, is the one that counts."""

    WRONG_WIDTH = "wrong_width"
    INVALID_VALUE = "invalid_value"
    NO_NUMBER = "no_number"
    NOT_E164 = "not_e164"
    EXTENSION = "extension"
    VANITY_NUMBER = "vanity_number"
    LOCAL_NUMBER = "local_number"
    LOST_ZERO = "lost_zero"
    OLD_NUMBERING_PLAN = "old_numbering_plan"
    IMPOSSIBLE_NUMBER = "impossible_number"
    AMBIGUOUS_NUMBER = "ambiguous_number"
    SUPPRESSED = "suppressed"
    BLANK_VARIABLE = "blank_variable"
    CLOSED = "closed"
    HOURS_UNKNOWN = "hours_unknown"
    DUPLICATE = "duplicate"
    CAPPED = "capped"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.WRONG_WIDTH: "The row has more or fewer cells than the header.",
    Reason.INVALID_VALUE: "A cell holds what cannot be written as text.",
    Reason.NO_NUMBER: "There is no number to call.",
    Reason.NOT_E164: "The number is not E.164 (a plus sign, the country code, digits only), or, with"
    " default_country, not one number as people write it: no decimal, second number or letter.",
    Reason.EXTENSION: "The number has an extension, which nobody would dial after it.",
    Reason.VANITY_NUMBER: "The number is spelt with letters.",
    Reason.LOCAL_NUMBER: "The number has no area code, and can be dialled within one place alone.",
    Reason.LOST_ZERO: "The number lost the 0 behind its country code, which belongs to it there.",
    Reason.OLD_NUMBERING_PLAN: "The number is of a numbering plan that is no longer in use.",
    Reason.IMPOSSIBLE_NUMBER: "The number has an unknown country code, or a length no number there has.",
    Reason.AMBIGUOUS_NUMBER: f"The number can be read in two ways, as two phones. {WHICH_READING}.",
    Reason.SUPPRESSED: "The number is on the do-not-call list.",
    Reason.BLANK_VARIABLE: "A variable that the agent needs is blank.",
    Reason.CLOSED: "The calling window is closed now where this number is.",
    Reason.HOURS_UNKNOWN: "The hours of this number are not known: its time zone or its holidays are not.",
    Reason.DUPLICATE: "An earlier row calls the same number.",
    Reason.CAPPED: "The person was called as often as call_cap allows.",
}

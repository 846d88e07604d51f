"""May a batch call be uploaded, or uploaded again? Decided here and nowhere else: from values, without I/O.

The vendor knows no key for a batch call, and would call everybody a second time. So once an upload may have
been accepted, nothing is uploaded again unless the user wishes so: the list of batch calls is searched for
the marker in the name. A list may lag behind, so not finding it proves nothing; a later try looks again.

:func:`decide` is asked by :func:`~formant_provider.core.batches.placement.BatchPlacing`, which does what the
decision says and asks again with what it has learnt. The first line that applies:

=========================================================  ================================================
What is known                                              What follows
=========================================================  ================================================
the ledger has a receipt                                   ``Done``: placed
a look has found it                                        ``Done``: found
the upload of this try was refused                         ``Refuse``: that error
an upload may have been accepted, of this try or an        ``Look``
earlier one; or others may have placed it
the look failed                                            ``Refuse``: that error
in doubt, and not to be uploaded again                     ``Refuse``: its outcome is unknown
in doubt since the upload of this try                      ``Refuse``: that error; a next try uploads again
otherwise                                                  ``Send``
=========================================================  ================================================

Vendor page: https://docs.formantai.com/api-reference/batch-calls
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, TypeAlias

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.errors import BatchOutcomeUnknown, FormantError
from formant_provider.api.models import utc_text
from formant_provider.api.retry import is_unclear
from formant_provider.core.ledger import BaseIntent, Readers, Sent
from formant_provider.core.placing import BasePolicy, Result

# How much older than the intent a batch call may seem to be: clocks differ, and its list is short.
SKEW = timedelta(days=1)
# For so long is looked for what another row, or another task, may have placed: a list may lag a little.
LOOK_FOR_OTHERS_S = 5.0


@dataclass(frozen=True)
class BatchIntent(BaseIntent):
    """What the ledger holds of one batch call. Its key is not sent: the marker in its name is made of it."""

    READERS: ClassVar[Readers] = {**BaseIntent.READERS, "receipt": lambda fields: BatchCall(**fields)}

    receipt: BatchCall | None = None


@dataclass(frozen=True)
class BatchPolicy(BasePolicy):
    """What the placement of a batch call goes by.

    :param resubmit_if_missing: whether a further try uploads again what may have been placed and was not
        found. Where the list lags behind by more than the look lasts, everybody is called twice.
    """

    resubmit_if_missing: bool = False


@dataclass(frozen=True)
class Facts:
    """What this try knows besides the ledger.

    :param name: words by which a person finds the batch call in the vendor's list.
    :param is_fresh: whether the ledger knew nothing of it, and this try has uploaded nothing.
    :param has_looked: whether the list was searched, after the upload of this try if there was one.
    """

    name: str
    is_fresh: bool
    upload_error: FormantError | None = None
    has_looked: bool = False
    look_error: FormantError | None = None
    batch: BatchCall | None = None


@dataclass(frozen=True)
class Send:
    """Upload, after the doubt was written down."""


@dataclass(frozen=True)
class Look:
    """Search the list that far back and for so long (0: once), and decide again."""

    since: datetime
    timeout_s: float


@dataclass(frozen=True)
class Done:
    """Nothing is sent: the batch call was placed."""

    result: Result
    batch: BatchCall


@dataclass(frozen=True)
class Refuse:
    """Nothing is sent, and the error is raised."""

    error: FormantError


Decision: TypeAlias = Send | Look | Done | Refuse


def decide(intent: BatchIntent, policy: BatchPolicy, facts: Facts) -> Decision:
    """Say what comes next. The table is at the top of this module."""
    if intent.receipt is not None:
        return Done(Result.PLACED, intent.receipt)
    if facts.batch is not None:
        return Done(Result.FOUND, facts.batch)
    if facts.upload_error is not None and not is_unclear(facts.upload_error):
        return Refuse(facts.upload_error)
    may_be_there = not facts.is_fresh or policy.taken_since is not None
    if may_be_there and not facts.has_looked:
        since = min(intent.written_at, policy.taken_since or intent.written_at) - SKEW
        return Look(since, _look_for_s(intent, policy))
    return _after_look(intent, policy, facts)


def _after_look(intent: BatchIntent, policy: BatchPolicy, facts: Facts) -> Decision:
    """Say what comes next when it was not found, or need not be looked for."""
    if facts.look_error is not None:
        return Refuse(facts.look_error)
    if intent.sent is Sent.UNCLEAR and not policy.resubmit_if_missing:
        return Refuse(
            BatchOutcomeUnknown(
                f"An upload at {utc_text(intent.written_at)} or later may have been accepted, and the list"
                f" has no batch call of {facts.name}",
                maybe_placed=True,
            )
        )
    if facts.upload_error is not None:  # the next try uploads again, so that the list has time to catch up
        return Refuse(facts.upload_error)
    return Send()


def _look_for_s(intent: BatchIntent, policy: BatchPolicy) -> float:
    """Return for how long to look: for a while when it may well be there, and else for a moment or once."""
    if intent.sent is Sent.UNCLEAR or policy.was_cleared:
        return policy.lookup_timeout_s
    return min(policy.lookup_timeout_s, LOOK_FOR_OTHERS_S if policy.taken_since else 0.0)

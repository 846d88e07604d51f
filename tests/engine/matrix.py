"""The failure matrix as data: what goes wrong, and how the call must end all the same.

``test_failure_matrix.py`` brings every row about in the engine, but for those that are marked: ``standalone``
ones need a whole Airflow. ``docs/what-happens-when.md`` shows all of them, and a test holds it to this file.

Whether a request that failed uses up its idempotency key, the vendor does not say. Every row holds what is
to be expected in either case; where nothing is said of ``key_used``, it makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from formant_provider.sandbox import Fault
from formant_provider.sandbox.faults import CALL, LIST

PLAIN, MAPPED, DEFERRABLE = "plain", "mapped", "deferrable"
COLUMNS = (PLAIN, MAPPED, DEFERRABLE)
RETRIES = 2


# What goes wrong


@dataclass(frozen=True)
class Strike:
    """The next requests to an endpoint meet a fault of the sandbox."""

    fault: Fault
    times: int = 1
    at: str = CALL
    retry_after: int | None = None


@dataclass(frozen=True)
class Down:
    """Nobody listens at the API's port.

    :param after: sends that still arrive.
    :param sends: sends that do not; ``None`` is every one until the try is over.
    """

    after: int = 0
    sends: int | None = None


@dataclass(frozen=True)
class StrangerCalls:
    """Somebody else asks for the same call with the same key, and it is placed."""


@dataclass(frozen=True)
class MemoryLost:
    """Somebody deletes what the task wrote into its state store."""


@dataclass(frozen=True)
class StoreDown:
    """The database of the call store is killed.

    :param at_send: not before the first request of the try is under way.
    :param for_pauses: how often the task pauses until it is there again; ``None``: as often as the try does.
    """

    at_send: bool = False
    for_pauses: int | None = None


Step = StoreDown | Strike | Down | StrangerCalls | MemoryLost


# How it ends

NOTHING = "Nothing."
CLEAR_LATER = (
    "Nothing. If the ids are missing, clear the task when the call is over: it looks again, and nobody is"
    " called again."
)
CLEAR = "Clear the task when the API is back."
CLEAR_FOR_STORE = "Clear the task when the store is back."
CLEAR_TO_FIND = "Clear the task when the API is back: it finds the call, and nobody is called again."
LOOK = (
    "Look for the call in the FormantAI dashboard. If there is none, give the task an `idempotency_key` of"
    " its own and clear it: then the call is placed."
)
LOOK_UP = "Look for the call in the FormantAI dashboard, if you need its ids."
TWO_CALLS = "Nothing. If you mean two calls, give each an `idempotency_key` of its own."

PLACED, FOUND, UNCONFIRMED = ("placed",), ("found",), ("unconfirmed",)
FAILED: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ends:
    """How the call ends for the person whom the failure strikes.

    :param placement: the words of which the result's ``placement`` is one; none when the task fails.
        ``placed`` and ``found`` come with the ids of the call, ``unconfirmed`` without.
    :param posts: most requests for the call that reach the API, those of a stranger not counted.
    :param tries: how many tries the task takes.
    :param rings: how often the phone rings, whoever asked for it.
    :param todo: what is left for a person to do.
    """

    placement: tuple[str, ...]
    posts: int
    tries: int = 1
    rings: int = 1
    todo: str = NOTHING

    @property
    def state(self) -> str:
        """The last state of the task."""
        return "success" if self.placement else "failed"


@dataclass(frozen=True)
class Row:
    """One failure.

    :param name: what happens, in plain words.
    :param topic: heading under which the docs show it.
    :param key_kept: how it ends when a failed request leaves its key unused.
    :param key_used: the same when it uses the key up; ``None`` when that makes no difference.
    :param mapped_key_used: the same in a mapped task, where another row may have used the key; ``None`` when
        that makes no difference.
    :param stored: how it ends with a call store; ``None`` when as without one in a plain task.
    :param stored_key_used: the same when a failed request uses its key up.
    :param tries: what goes wrong at the beginning of the first try, of the second, and so on.
    :param columns: the kinds of task that it can happen to.
    :param strikes: positions in the mapped list that it happens to.
    :param on_record: whether the struck call is ever seen among the conversations.
    :param options: arguments of the operator.
    :param turned: the mapped list is turned round between two tries, once all whom it strikes have failed.
    :param twins: the last two of the mapped list are one person.
    :param key_answers: the vendor's answers (is the key used?) with which it can come about.
    :param standalone: only a whole Airflow can show it.
    :param looped: it happens in a loop, which ``test_loop.py`` shows.
    :param at_once: several processes with a call store do it at once, which
        ``tests/store/test_store_at_once.py`` shows.
    :param needs_store: it can happen with a call store alone, in PostgreSQL here.
    :param cleared: the run is cleared in between, which ``tests/operators/test_cleared.py`` shows through
        Airflow's task runner.
    """

    name: str
    topic: str
    key_kept: Ends
    key_used: Ends | None = None
    mapped_key_used: Ends | None = None
    stored: Ends | None = None
    stored_key_used: Ends | None = None
    tries: tuple[tuple[Step, ...], ...] = ()
    columns: tuple[str, ...] = COLUMNS
    strikes: tuple[int, ...] = (1,)
    on_record: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    turned: bool = False
    twins: bool = False
    key_answers: tuple[bool, ...] = (False, True)
    standalone: bool = False
    looped: bool = False
    cleared: bool = False
    at_once: bool = False
    needs_store: bool = False

    def ends(self, *, key_used: bool, mapped: bool = False, stored: bool = False) -> Ends:
        """How it ends, by what a failed request does to its key, and whether there is a call store."""
        if stored:
            known = (self.stored_key_used if key_used else None) or self.stored
            return known or self.ends(key_used=key_used)
        if not key_used:
            return self.key_kept
        return (self.mapped_key_used if mapped else None) or self.key_used or self.key_kept

    def __str__(self) -> str:
        return self.name


UNTROUBLED = Ends(PLACED, posts=1)

LOST = "The answer is lost"
NOT_ACCEPTED = "The request is not accepted"
NOT_NOW = "The API says: not now"
TAKEN = "Somebody else used the key"
LISTS = "A mapped list"
WORKERS = "Workers die, tasks are cleared"
LATER = "A run is cleared, and something has changed"
STORE = "The call store"

# Accepted by the first send; the other three of the try are turned away at the door.
ACCEPTED_AND_LOST = (Strike(Fault.ERROR_503_AFTER), Strike(Fault.ERROR_503_BEFORE, times=3))
KEPT, MOVED = Ends(PLACED, posts=1, tries=2), Ends(FOUND, posts=1, tries=2)
LONG_WAIT = (Strike(Fault.RATE_LIMIT, retry_after=1),)

ROWS: tuple[Row, ...] = (
    Row("503 after the call was accepted", LOST, Ends(FOUND, posts=2),
        tries=((Strike(Fault.ERROR_503_AFTER),),)),
    Row("connection dropped after the call was accepted", LOST, Ends(FOUND, posts=2),
        tries=((Strike(Fault.DROP_AFTER),),)),
    Row("no answer within the read timeout after the call was accepted", LOST, Ends(FOUND, posts=2),
        tries=((Strike(Fault.HANG_AFTER),),)),
    Row("200 with a body that cannot be read", LOST, Ends(FOUND, posts=2), tries=((Strike(Fault.GARBAGE),),)),
    Row("every answer of the first try is lost", LOST, Ends(FOUND, posts=5, tries=2),
        tries=(ACCEPTED_AND_LOST,)),
    Row("answer lost, and looking for the call fails at first", LOST, Ends(FOUND, posts=2),
        tries=((Strike(Fault.DROP_AFTER), Strike(Fault.ERROR_503_BEFORE, times=2, at=LIST)),)),
    Row("answer lost, and no record of the call within `lookup_timeout`", LOST,
        Ends(UNCONFIRMED, posts=2, todo=CLEAR_LATER), tries=((Strike(Fault.DROP_AFTER),),), on_record=False),
    Row("answers of the first try lost, and the task's state store deleted", LOST,
        Ends(FOUND, posts=5, tries=2), tries=(ACCEPTED_AND_LOST, (MemoryLost(),))),
    Row("the answer of one iteration of a loop is lost (Airflow 3.4); the others place one call each as well",
        LOST, Ends(FOUND, posts=2), looped=True),
    Row("answer lost, and the API down from then on", LOST,
        Ends(FAILED, posts=1, tries=3, todo=CLEAR_TO_FIND),
        tries=((Strike(Fault.DROP_AFTER), Down(after=1)), (Down(),), (Down(),))),
    Row("503 before the call was accepted", NOT_ACCEPTED, Ends(PLACED, posts=2),
        tries=((Strike(Fault.ERROR_503_BEFORE),),), key_used=Ends(UNCONFIRMED, posts=2, rings=0, todo=LOOK)),
    Row("503 before the call was accepted, for the whole first try", NOT_ACCEPTED,
        Ends(PLACED, posts=5, tries=2), tries=((Strike(Fault.ERROR_503_BEFORE, times=4),),),
        key_used=Ends(UNCONFIRMED, posts=5, tries=2, rings=0, todo=LOOK)),
    Row("connection dropped before the call was accepted", NOT_ACCEPTED, Ends(PLACED, posts=2),
        tries=((Strike(Fault.DROP_BEFORE),),)),
    Row("connection refused twice", NOT_ACCEPTED, Ends(PLACED, posts=1), tries=((Down(sends=2),),)),
    Row("API down for the whole first try", NOT_ACCEPTED, Ends(PLACED, posts=1, tries=2), tries=((Down(),),)),
    Row("API down for every try", NOT_ACCEPTED, Ends(FAILED, posts=0, tries=3, rings=0, todo=CLEAR),
        tries=((Down(),), (Down(),), (Down(),))),
    Row("429 with `Retry-After: 2`", NOT_NOW, Ends(PLACED, posts=2),
        tries=((Strike(Fault.RATE_LIMIT, retry_after=2),),), key_used=Ends(PLACED, posts=3),
        mapped_key_used=Ends(UNCONFIRMED, posts=2, rings=0, todo=LOOK)),
    Row("429, too many calls at once, without headers", NOT_NOW, Ends(PLACED, posts=2),
        tries=((Strike(Fault.CONCURRENCY_LIMIT),),), key_used=Ends(PLACED, posts=3),
        mapped_key_used=Ends(UNCONFIRMED, posts=2, rings=0, todo=LOOK)),
    Row("429 for the whole first try", NOT_NOW, Ends(PLACED, posts=5, tries=2),
        tries=((Strike(Fault.RATE_LIMIT_NO_HEADERS, times=4),),), key_used=Ends(PLACED, posts=6, tries=2),
        mapped_key_used=Ends(UNCONFIRMED, posts=5, tries=2, rings=0, todo=LOOK)),
    Row("429 that asks for more than `max_inline_wait`, with `deferrable=False`", NOT_NOW,
        Ends(PLACED, posts=2, tries=2), tries=(LONG_WAIT,), columns=(PLAIN, MAPPED),
        options={"max_inline_wait": 0.5}, key_used=Ends(PLACED, posts=3, tries=2),
        mapped_key_used=Ends(UNCONFIRMED, posts=2, tries=2, rings=0, todo=LOOK)),
    Row("429 that asks for more than `max_inline_wait`, with `deferrable=True`", NOT_NOW,
        Ends(PLACED, posts=2), tries=(LONG_WAIT,), columns=(DEFERRABLE,), options={"max_inline_wait": 0.5},
        key_used=Ends(PLACED, posts=3)),
    Row("409 on the first send, and the call is on record", TAKEN, Ends(FOUND, posts=1),
        tries=((StrangerCalls(),),)),
    Row("409 on the first send, and no record of the call within `lookup_timeout`", TAKEN,
        Ends(UNCONFIRMED, posts=1, todo=CLEAR_LATER), tries=((StrangerCalls(),),), on_record=False),
    Row("the same person twice in one list", LISTS, Ends(PLACED + FOUND, posts=1, todo=TWO_CALLS),
        columns=(MAPPED,), strikes=(1, 2), twins=True),
    Row("the same person twice in one list, and a 429 for both", LISTS,
        Ends(PLACED + FOUND, posts=2, todo=TWO_CALLS), tries=((Strike(Fault.RATE_LIMIT_NO_HEADERS),),),
        columns=(MAPPED,), strikes=(1, 2), twins=True,
        key_used=Ends(UNCONFIRMED, posts=2, rings=0, todo=LOOK),
        stored_key_used=Ends(PLACED + FOUND, posts=3, todo=TWO_CALLS)),
    Row("answers lost, and the list in another order in the second try", LISTS,
        Ends(FOUND, posts=5, tries=2), tries=(ACCEPTED_AND_LOST,), columns=(MAPPED,), strikes=(0, 2),
        turned=True),
    Row("429 for the whole first try, and the list in another order in the second", LISTS,
        Ends(PLACED, posts=5, tries=2), tries=((Strike(Fault.RATE_LIMIT_NO_HEADERS, times=4),),),
        columns=(MAPPED,), strikes=(0, 2), turned=True,
        key_used=Ends(UNCONFIRMED, posts=5, tries=2, rings=0, todo=LOOK),
        stored_key_used=Ends(PLACED, posts=6, tries=2)),
    # Had the refusals used the key up, the second try would end as in the row above.
    Row("429 for the first try, answers of the second lost, and the list in another order each time", LISTS,
        Ends(FOUND, posts=9, tries=3),
        tries=((Strike(Fault.RATE_LIMIT_NO_HEADERS, times=4),), ACCEPTED_AND_LOST), columns=(MAPPED,),
        strikes=(0, 2), turned=True, key_answers=(False,)),
    # Or while the POST was on its way and not accepted yet: then it is seen twice.
    Row("worker killed before the POST", WORKERS, Ends(PLACED, posts=2, tries=2), standalone=True),
    Row("worker killed between accept and receipt", WORKERS,
        Ends(FOUND + UNCONFIRMED, posts=2, tries=2, todo=CLEAR_LATER), standalone=True),
    Row("worker killed after the receipt", WORKERS, Ends(PLACED, posts=1, tries=2), standalone=True),
    Row("cleared after success", WORKERS, Ends(PLACED, posts=1, tries=2), standalone=True),
    Row("two processes for one task at once", WORKERS,
        Ends(PLACED + FOUND + UNCONFIRMED, posts=3, tries=2, todo=CLEAR_LATER), standalone=True),
    Row("the list grew: whoever moved to another row", LATER, Ends(FOUND, posts=2, tries=2), cleared=True,
        columns=(MAPPED,)),
    Row("the list grew, and whoever moved meets a 429 first", LATER, Ends(FOUND, posts=3, tries=2),
        cleared=True, columns=(MAPPED,)),
    Row("the list is in another order", LATER, Ends(FOUND, posts=2, tries=2), cleared=True,
        columns=(MAPPED,)),
    Row("the task's state entry was deleted", LATER, Ends(FOUND, posts=2, tries=2), cleared=True,
        stored=KEPT),
    Row("25 hours later, and nothing else", LATER, KEPT, cleared=True),
    Row("25 hours later, and the task's state entry was deleted", LATER,
        Ends(UNCONFIRMED, posts=1, tries=2, todo=LOOK_UP), cleared=True, stored=KEPT),
    Row("25 hours later, and the list grew: whoever moved to another row", LATER,
        Ends(UNCONFIRMED, posts=1, tries=2, todo=LOOK_UP), cleared=True, columns=(MAPPED,), stored=MOVED),
    Row("25 days later, and nothing else", LATER, KEPT, cleared=True),
    Row("25 days later, and the task's state entry was deleted", LATER,
        Ends(UNCONFIRMED, posts=1, tries=2, todo=LOOK_UP), cleared=True, stored=KEPT),
    Row("25 days later, and the list grew: whoever moved to another row", LATER,
        Ends(UNCONFIRMED, posts=1, tries=2, todo=LOOK_UP), cleared=True, columns=(MAPPED,), stored=MOVED),
    Row("one person in two rows, of which the second starts 25 hours later", LATER,
        Ends(FOUND, posts=1, todo=TWO_CALLS), cleared=True, columns=(MAPPED,), twins=True),
    Row("one person in two rows, in two spellings", LATER, Ends(FOUND, posts=2, todo=TWO_CALLS),
        cleared=True, columns=(MAPPED,), twins=True),
    Row("the store cannot be reached before the request, in the first try", STORE,
        Ends(PLACED, posts=1, tries=2), tries=((StoreDown(),),), columns=(PLAIN, MAPPED), needs_store=True),
    Row("the store cannot be reached in any try", STORE,
        Ends(FAILED, posts=0, tries=3, rings=0, todo=CLEAR_FOR_STORE),
        tries=((StoreDown(),),) * 3, columns=(PLAIN,), needs_store=True),
    Row("the store is killed between request and answer, and back after some seconds", STORE,
        Ends(PLACED, posts=1), tries=((StoreDown(at_send=True, for_pauses=6),),), columns=(MAPPED,),
        needs_store=True),
    Row("the store is killed between request and answer, and does not come back within 30 seconds", STORE,
        Ends(PLACED, posts=1), tries=((StoreDown(at_send=True),),), columns=(DEFERRABLE,), needs_store=True),
    Row("two tasks ask at once for a call with one `idempotency_key`", STORE,
        Ends(PLACED + FOUND, posts=1, todo=TWO_CALLS), at_once=True),
    Row("two DAGs ask at once for a call with one `idempotency_key`", STORE,
        Ends(PLACED + FOUND, posts=1, todo=TWO_CALLS), at_once=True),
    Row("one person in two rows that run at once", STORE, Ends(PLACED + FOUND, posts=1, todo=TWO_CALLS),
        at_once=True),
    Row("another Airflow with the same store has placed the call with this `idempotency_key`", STORE,
        Ends(FOUND, posts=0), at_once=True),
)  # fmt: skip
IN_ENGINE = tuple(row for row in ROWS if not (row.standalone or row.looped or row.cleared or row.at_once))
AT_ONCE = tuple(row for row in ROWS if row.at_once)
(LOOPED,) = (row for row in ROWS if row.looped)
CLEARED = tuple(row for row in ROWS if row.cleared)


def row(name: str) -> Row:
    """The row of that name."""
    (found,) = (row for row in ROWS if row.name == name)
    return found

"""One wake of a call list: brings together its rows, what was done before, and what its user chose."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum

from formant_provider.tasks.call_lists.hold import to_hold
from formant_provider.tasks.call_lists.outputs import check_outputs
from formant_provider.tasks.call_lists.reading import ListReading
from formant_provider.tasks.call_lists.telling import tell_progress
from formant_provider.tasks.capping import CapOptions
from formant_provider.tasks.lateness import lateness_s, refuse_late
from formant_provider.tasks.options import seconds
from formant_provider.tasks.run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.errors import FormantError
    from formant_provider.core.call_lists.board import Board
    from formant_provider.core.call_lists.calls import ListedCall
    from formant_provider.core.call_lists.columns import Columns
    from formant_provider.core.call_lists.control import Control, Rest
    from formant_provider.core.call_lists.judging import Judging
    from formant_provider.core.call_lists.pace import Pace
    from formant_provider.core.call_lists.placing import CallPlacer, When
    from formant_provider.core.call_lists.progress import Progress
    from formant_provider.core.call_lists.rows import RowReader
    from formant_provider.core.call_lists.work import ListWork
    from formant_provider.core.calls.facts import Policy
    from formant_provider.tasks.call_lists.deadline import Deadline
    from formant_provider.tasks.call_lists.fields import CallListTask
    from formant_provider.tasks.call_lists.hold import Hold
    from formant_provider.tasks.call_lists.ledgers import Ledgers

log = logging.getLogger(__name__)

TOLD_EVERY = timedelta(minutes=1)
_ANY_NUMBER = "+14155552671"


def now() -> datetime:
    """Return the current time, aware."""
    return pendulum.now("UTC")


@dataclass
class ListRun:
    """One wake of a list, whose rows are on a board.

    :param deadline: after it nothing is placed.
    :param stopped: whether this process is to end.
    :param was_deferred: whether this try continues after a wait.
    :param show: is given the board now and then while the list is worked off.
    """

    task: CallListTask
    context: Context
    board: Board
    folder: Path
    deadline: Deadline
    stopped: Callable[[], bool]
    was_deferred: bool
    show: Callable[[Board], None]
    run: TaskRun = field(init=False)
    has_parts: bool = field(default=False, init=False)
    work: ListWork | None = field(default=None, init=False)
    _told_at: datetime | None = field(default=None, init=False)
    _judged_at: int = field(default=-1, init=False)
    _stops_for: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.run = TaskRun(self.context)
        self._named = TaskRun(self.context, own_name=True)
        self.cap = CapOptions(self.task.call_cap, self.task.on_capped)
        self._rule = self.task.attempts.rule()
        self._stop_rule = self.task.stop_when.rule() if self.task.stop_when else None

    def read(self) -> None:
        """Read the list, and put each row where it stands.

        :raises InvalidInput: an option, or the list, is invalid.
        """
        self.cap.check(self.task.hook)
        if self.task.calling_window is not None:
            self.task.calling_window.hours(_ANY_NUMBER)  # what no number can be called by is no row's fault
        check_outputs(self.task)
        self.ledgers.begin()
        self._reading = ListReading(self.task, self.folder, self.ledgers.people())
        self._reading.into(self.board, self._reader)
        self.has_parts = self._reading.has_parts

    def restore(self) -> None:
        """Put each row where it stands by what earlier tries and wakes have done.

        :raises InvalidInput: there is nobody to call.
        :raises CallNotAllowed: nothing was placed yet, and it is too late to begin.
        """
        from formant_provider.api.errors import CallNotAllowed
        from formant_provider.core.call_lists.restoring import restore

        known = restore(self.board, self.ledgers.ledger, self.judging)
        if not known:
            self._reading.refuse_empty(has_begun=self.ledgers.has_begun())
        try:
            self._refuse_late(has_begun=bool(known) or self.was_deferred)
        except CallNotAllowed as error:
            if not known:
                raise
            log.warning("%s. Nobody further is called.", error)
            self.board.close_waiting(error.reason)

    def go(self) -> Rest | None:
        """Work on the list; return until when there is nothing to do, or ``None`` at its end."""
        self.work = self._work()
        return self.work.run()

    @cached_property
    def ledgers(self) -> Ledgers:
        """Where this list is written down."""
        from formant_provider.tasks.call_lists.ledgers import ledgers_of

        return ledgers_of(self.task.hook, self.run, self.cap, was_deferred=self.was_deferred)

    @cached_property
    def judging(self) -> Judging:
        """What follows for a row."""
        from formant_provider.core.call_lists.judging import Judging

        return Judging(
            self._rule,
            frozenset(self.task.following.success_statuses),
            self.run.try_number,
            now,
            answers=lambda: self.pace.answers,
        )

    @cached_property
    def pace(self) -> Pace:
        """How fast the list may send."""
        from formant_provider.core.call_lists.pace import SHARE_OF_POLLS, SHARE_WHERE_ENDS_COUNT, Pace

        share = SHARE_WHERE_ENDS_COUNT if self._stop_rule else SHARE_OF_POLLS
        return Pace(now, self.task.placing.concurrency or self.ledgers.turns_at_once, share)

    @cached_property
    def hold(self) -> Hold:
        """Who may hold the list."""
        from formant_provider.tasks.call_lists.hold import Hold

        return Hold(None, self.task.hold_variable, self.ledgers.store)

    @cached_property
    def progress(self) -> Progress:
        """How far the list has come, for the log."""
        from formant_provider.core.call_lists.progress import Progress

        return Progress()

    def _work(self) -> ListWork:
        from formant_provider.core.call_lists.work import ListWork

        return ListWork(
            self.board,
            self.ledgers.ledger,
            self._placer(),
            self.judging,
            self._following(),
            self._clients(),
            self.pace,
            self._control(),
            now,
            self.task.placing.longest_wait,
        )

    def _reader(self, columns: Columns) -> RowReader:
        from formant_provider.core.call_lists.rows import RowReader
        from formant_provider.core.validation import to_agent_id

        task, variants = self.task, self.task.variants
        agent_for: Callable[[str], int] | None = variants.agent_for if variants else None
        if task.agent_id is not None:
            agent_id = to_agent_id(task.agent_id)
            agent_for = lambda _: agent_id  # noqa: E731 - one of two
        return RowReader(columns, agent_for, self._key_for, now())

    def _key_for(self, recipient: str) -> str:
        from formant_provider.core.keys import key_for_list

        dag_id, run_id, task_id = self.run.task_id
        key = key_for_list(dag_id=dag_id, run_id=run_id, task_id=task_id, recipient=recipient)
        return self.run.key_in_loop(key)

    def _refuse_late(self, *, has_begun: bool) -> None:
        """Refuse to begin too late; a list that began in time may go on for as long as it may last."""
        allowed_s = lateness_s(self.task.placing.max_lateness)
        if allowed_s is not None and has_begun:
            allowed_s += self.task.timeout_s
        refuse_late(self.context, allowed_s, now=now())

    def _placer(self) -> CallPlacer:
        from formant_provider.core.call_lists.listings import Listings
        from formant_provider.core.call_lists.placing import CallPlacer

        return CallPlacer(
            self._policy_of,
            self._when_of,
            self._check_before_send,
            now,
            Listings(self._clients().open_client, now),
            frozenset(self._rule.after),
        )

    def _policy_of(self, call: ListedCall) -> Policy:
        from formant_provider.core.calls.facts import Policy

        run = self._named if call.has_own_name else self.run
        knows_all = self.ledgers.knows_all
        return Policy(
            # A name of the user's own may have been used by a connection without this store.
            taken_since=None if knows_all and not call.has_own_name else run.taken_since,
            look_since=None if knows_all else run.look_since,
            was_cleared=run.was_cleared,
            lookup_timeout_s=0,
        )

    def _when_of(self, call: ListedCall) -> When:
        from formant_provider.core.hours.opening_hours import allowed_at

        window = self.task.calling_window
        if window is None:
            return lambda asked, _: asked
        hours = window.hours(call.request.recipient)
        return lambda asked, moment: allowed_at(hours, asked, now=moment, on_closed="schedule")

    def _check_before_send(self) -> FormantError | None:
        """Abort a send if the list was stopped, or is held, meanwhile; asked in threads."""
        from formant_provider.api.errors import SendAborted

        if self.stopped() or (self.work is not None and self.work.hold is not None):
            return SendAborted("The list was stopped, or is held, before this send")
        return None

    def _following(self) -> Any:
        from formant_provider.core.call_lists.following import Following

        chosen = self.task.following
        return Following(
            lambda agent_id, number: self.task.hook.fingerprints(agent_id).mark(number),
            chosen.endings,
            seconds("poll_interval", chosen.poll_interval),
            seconds("safety_poll_interval", chosen.safety_poll_interval),
            timedelta(seconds=seconds("call_timeout", chosen.call_timeout)),
        )

    def _clients(self) -> Any:
        from formant_provider.api.retry import RetryPolicy
        from formant_provider.core.call_lists.listening import Clients

        hook, once = self.task.hook, RetryPolicy(max_attempts=1)

        hook.get_config()  # in this thread, and not in those that send
        return Clients(partial(hook.get_conn, once), hook.get_news, hook.lasting_errors(), hook.reread)

    def _control(self) -> Control:
        from formant_provider.core.call_lists.control import Control

        return Control(self.stopped, self.hold.who, self._over, self._tell)

    def _over(self) -> tuple[str, str] | None:
        """Return in a word and in words why nothing is placed any more."""
        if to_hold(self.task.hold):  # a rendered option does not change while the task lasts
            return "held", "the option hold of the task says so"
        if self.deadline.is_over():
            return "expired", f"the time of the list is up (timeout, {self.deadline.until})"
        rule, ended = self._stop_rule, self.board.ended()
        if rule is not None and ended != self._judged_at:
            self._judged_at, self._stops_for = ended, rule.reason(self.board.tally())
        return ("stopped", self._stops_for) if self._stops_for else None

    def _tell(self) -> None:
        self.pace.tell_if_used_up()
        if self._told_at is not None and now() - self._told_at < TOLD_EVERY:
            return
        self._told_at = now()
        tell_progress(self.progress, self.board, self.task.hook, self.run)
        self.show(self.board)

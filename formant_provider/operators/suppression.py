"""The operator that puts people on the do-not-call list of a call store, or takes them off it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks import options
from formant_provider.tasks.privacy import PrivateFields, hide, reveal
from formant_provider.tasks.run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.store.store import Store
    from formant_provider.store.suppressions import Decision

Action = Literal["add", "remove"]
OnEmpty = Literal["fail", "skip"]
_ONE_SOURCE = "give either numbers, or agent_id and when"
_LONGEST_NAME = 250


class FormantSuppressionOperator(PrivateFields, BaseOperator):
    """Put people on the do-not-call list of the connection's call store, or take them off it.

    Every call, call list and batch call of the connections that share the store leaves out who is on the
    list. The people come from a list of numbers, or are those who asked for it in conversations of an agent.
    The store keeps a keyed digest of each number, with the date, the reason, and the DAG and task; and each
    change is an event in its chain.

    A list with an entry that cannot be read changes nothing, since that entry means somebody. The same once
    more, by a retry or a clear, changes nothing either: who is on the list stays so with the first reason and
    date, and nothing that was decided after the run began, or after the conversation, is undone.

    Conversations are read as an export reads them: page by page, and each in detail when a result is asked
    for. The task waits for the API's rate limit, up to an hour for one request. A conversation that is not
    over has no results yet, so let the intervals of runs overlap.

    XCom: ``return_value``, a dict of counts and no number: ``action``; ``changed`` (people who were put on
    the list, or taken off it), ``unchanged`` (who were on it, or not on it, before) and ``decided_since``;
    from conversations also ``conversations``, ``matched``, ``unreadable`` (matched, without a number that can
    be read), ``unfinished`` and ``undated``.

    Vendor page: https://docs.formantai.com/platform/conversations

    :param reason: why, in one line of at most 250 characters, without a phone number; the store keeps it as
        it is. (templated)
    :param numbers: whom: a URI or an absolute path of a file, a folder or a pattern, with a column
        ``customer_phone`` or a single one; or a list or a data frame. Airflow never shows it. ``None`` means
        that conversations tell. (templated)
    :param agent_id: whose conversations tell whom: an integer, or a template that renders to digits. ``None``
        means that ``numbers`` tells. (templated)
    :param when: what the record of a conversation has to say: a mapping of ``status``, ``failure_reason`` or
        a result such as ``results.do_not_call`` to a value, or to a list of values of which one is enough.
        All fields must have theirs. Values are compared as text, without regard to capitals. (templated)
    :param start: the first moment at which such a conversation began, an aware datetime or ISO 8601 text with
        an offset. ``None`` means the start of the run's data interval. (templated)
    :param end: the first moment after that, as ``start``. ``None`` means the end of the run's data interval.
        (templated)
    :param action: ``"add"`` or ``"remove"``.
    :param default_country: the country of numbers that are written without a country code, as two letters.
        ``None`` takes E.164 alone.
    :param on_empty: what to do when ``numbers`` holds none: ``"fail"`` (without retries), since a list that
        was lost looks so, or ``"skip"`` the task.
    :param formant_conn_id: connection of type ``formant``, which names a call store. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :raises ValueError: at parse time, for an option that is invalid.
    """

    template_fields: Sequence[str] = (
        "reason",
        "numbers",
        "agent_id",
        "when",
        "start",
        "end",
        "formant_conn_id",
        "region",
    )
    private_fields = ("numbers",)
    literal_fields = ("agent_id", "region")
    masks_numbers = False
    ui_color = "#e6d9ef"

    def __init__(
        self,
        *,
        reason: str,
        numbers: Any = None,
        agent_id: int | str | None = None,
        when: Mapping[str, Any] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        action: Action = "add",
        default_country: str | None = None,
        on_empty: OnEmpty = "fail",
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reason, self.numbers, self.agent_id, self.when = reason, numbers, agent_id, when
        self.start, self.end = start, end
        self.action = options.one_of("action", action, get_args(Action))
        self.default_country = options.country("default_country", default_country)
        self.on_empty = options.one_of("on_empty", on_empty, get_args(OnEmpty))
        self.formant_conn_id, self.region = formant_conn_id, region
        options.refuse_literals(self)
        if not getattr(self, "_BaseOperator__from_mapped", False):
            self._check_source()

    def _do_render_template_fields(self, parent: Any, *args: Any, **options: Any) -> None:
        """Hide a reason that is going to be refused: Airflow shows rendered fields."""
        from formant_provider.core.numbers.in_text import may_hold_number

        super()._do_render_template_fields(parent, *args, **options)
        if parent is self and may_hold_number(str(self.reason)):
            self.reason = hide(self.reason)

    def execute(self, context: Context) -> dict[str, Any]:
        """Find out who is meant, and change the list; return counts."""
        from formant_provider.store.suppressions import add, remove
        from formant_provider.tasks.failures import READING, ending_the_task
        from formant_provider.tasks.suppressing import store_of

        run = TaskRun(context)
        with ending_the_task(READING, self.hook):
            self.refuse_missing()
            self._check_source()
            decision = self._decision(run)
            store = store_of(self.hook)
            asked, counts = self._asked(store, run, context)
            change = (add if self.action == "add" else remove)(store, asked, decision)
        return {"action": self.action, **vars(change), **counts}

    def _check_source(self) -> None:
        from formant_provider.api.errors import InvalidInput
        from formant_provider.core.conversations.conditions import to_conditions

        conversations = {"agent_id": self.agent_id, "when": self.when, "start": self.start, "end": self.end}
        given = [name for name, value in conversations.items() if value is not None]
        if self.numbers is not None and given:
            raise InvalidInput("numbers", f"is given, and so is {', '.join(given)}: {_ONE_SOURCE}")
        if self.numbers is None:
            for name in ("agent_id", "when"):
                if name not in given:
                    raise InvalidInput(name, f"is missing: {_ONE_SOURCE}")
            options.refuse_idle(self.given, ["on_empty", "default_country"], "numbers", met=False)
        if isinstance(self.when, Mapping):
            to_conditions("when", self.when)

    def _decision(self, run: TaskRun) -> Decision:
        """Return what the list is told of this task."""
        import pendulum

        from formant_provider.store.suppressions import Decision

        dag_id, _, task_id = run.task_id
        return Decision(str(reveal(self.reason)), f"{dag_id}.{task_id}"[:_LONGEST_NAME], pendulum.now("UTC"))

    def _asked(
        self, store: Store, run: TaskRun, context: Context
    ) -> tuple[Mapping[str, datetime], dict[str, int]]:
        """Return who is meant, each with when it was asked for; and what was counted on the way."""
        if self.numbers is None:
            return self._asked_in_conversations(store, context)
        from formant_provider.api.errors import InvalidInput
        from formant_provider.tasks.suppressing import asked_in_list

        asked = asked_in_list(store, reveal(self.numbers), self.default_country, run.run_began)
        if not asked and self.on_empty == "skip":
            raise AirflowSkipException("numbers holds no number")
        if not asked:
            raise InvalidInput(
                "numbers",
                "holds no number, as a list that was not filled does; where that is usual, say"
                ' on_empty="skip"',
            )
        return asked, {}

    def _asked_in_conversations(
        self, store: Store, context: Context
    ) -> tuple[Mapping[str, datetime], dict[str, int]]:
        from formant_provider.core.conversations.conditions import to_conditions
        from formant_provider.core.conversations.history import to_interval
        from formant_provider.core.validation import to_agent_id
        from formant_provider.tasks.suppressing import AskedInConversations

        interval = to_interval(
            context.get("data_interval_start") if self.start is None else self.start,
            context.get("data_interval_end") if self.end is None else self.end,
        )
        conditions = to_conditions("when", self.when)
        people = AskedInConversations(self.hook, to_agent_id(self.agent_id), interval, conditions)
        return people.read(store), people.counts()

"""Turns what the store and Airflow tell into what stands on the page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from formant_provider.core.conversations.statuses import COMPLETED
from formant_provider.core.numbers.in_text import without_international
from formant_provider.store.intents import PLACED
from formant_provider.store.list_progress import ListProgress
from formant_provider.store.overview import UNCLEAR, Asked, Count, Overview
from formant_provider.tasks.summaries.charts import Bar, bars
from formant_provider.tasks.summaries.summary import OTHERS
from formant_provider.tasks.summaries.words import status_text

if TYPE_CHECKING:
    from formant_provider.calls_page.days import Day
    from formant_provider.calls_page.sources import Place, Source

UNCONFIRMED, OPEN, NOT_SENT = "unconfirmed", "no outcome yet", "not sent"
_TEXTS = {
    UNCONFIRMED: "May have been placed, or is being placed now.",
    OPEN: "Placed; nothing tells yet how it ended.",
    NOT_SENT: "Nothing was sent: the call waits, or was not allowed.",
    "refused": "The platform refused the call.",
}
_MOST_AGENTS = 20
_MOST_WORDS = 12
# The states in which a task of Airflow's will do nothing more by itself.
_ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})


class Row(NamedTuple):
    """A task on the page, and what it has asked for.

    :param link: to the task instance in Airflow; blank if there is none.
    :param state: of the task instance, as Airflow has it; ``None`` if that is not known.
    :param conversation: address of the conversation; ``None`` if there is none.
    """

    title: str
    run: str
    link: str
    reference: str
    at: datetime
    agent_id: int
    word: str
    state: str | None
    people: int | None
    conversation: str | None


class ListRow(NamedTuple):
    """A call list on the page."""

    title: str
    run: str
    link: str
    reference: str
    told_at: datetime
    resumes_at: datetime | None
    word: str
    percent: float
    counts: ListProgress


class Shown(NamedTuple):
    """What stands on the page, besides its head."""

    figures: list[tuple[str, int]]
    agents: list[tuple[str, int, list[Bar]]]
    unconfirmed: list[Row]
    lists: list[ListRow]
    batches: list[Row]
    newest: list[Row]


def shown(found: Overview, source: Source, day: Day, states: Mapping[Place, str]) -> Shown:
    """Return what stands on the page.

    :param states: of the task instances in :func:`places_of`.
    """

    def rows(asked: Iterable[Asked]) -> list[Row]:
        return [_row(each, source, day, states) for each in asked]

    return Shown(
        _figures(found),
        _agents(found.counts),
        rows(found.unconfirmed),
        [_list_row(each, day, states) for each in found.lists],
        rows(found.batches),
        rows(found.newest),
    )


def places_of(found: Overview) -> set[Place]:
    """Return the task instances whose state is shown."""
    asked = {_place(each) for each in (*found.unconfirmed, *found.batches)}
    return asked | {_place(each) for each in found.lists}


def bar_text(word: str) -> str:
    """Return what a word for an outcome means."""
    return _TEXTS.get(word) or status_text(word)


def _figures(found: Overview) -> list[tuple[str, int]]:
    words: Counter[str] = Counter()
    for each in found.counts:
        words[_word(each.state, each.outcome)] += each.calls
    return [
        ("Calls", words.total()),
        ("Completed", words[COMPLETED]),
        ("No outcome yet", words[OPEN]),
        ("Unconfirmed", words[UNCONFIRMED]),
        ("Not sent, or refused", words[NOT_SENT] + words["refused"]),
    ]


def _agents(counts: Iterable[Count]) -> list[tuple[str, int, list[Bar]]]:
    """Return each agent with its calls by outcome, those with the most calls first."""
    by_agent: dict[int, Counter[str]] = defaultdict(Counter)
    for each in counts:
        by_agent[each.agent_id][_word(each.state, each.outcome)] += each.calls
    ordered = sorted(by_agent.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    named = [(str(agent_id), words) for agent_id, words in ordered[:_MOST_AGENTS]]
    if rest := sum((words for _, words in ordered[_MOST_AGENTS:]), Counter[str]()):
        named.append((OTHERS, rest))
    return [(name, words.total(), bars(_fewer(words), bar_text)) for name, words in named]


def _fewer(words: Counter[str]) -> Counter[str]:
    """Return the commonest words, and all else as one: the vendor's words are open."""
    if len(words) <= _MOST_WORDS:
        return words
    kept = Counter(dict(words.most_common(_MOST_WORDS)))
    kept[OTHERS] += words.total() - kept.total()
    return kept


def _word(state: str, outcome: str | None) -> str:
    if state == PLACED:
        return outcome or OPEN
    return {UNCLEAR: UNCONFIRMED, "never": NOT_SENT}.get(state, state)


def _row(asked: Asked, source: Source, day: Day, states: Mapping[Place, str]) -> Row:
    ids = {"conversation_id": asked.conversation_id, "trace_id": asked.trace_id}
    has_ids = any(ids.values())
    return Row(
        *_names(asked),
        at=day.local(asked.call_at),
        agent_id=asked.agent_id,
        word=_word(asked.state, asked.outcome),
        state=states.get(_place(asked)),
        people=asked.people,
        conversation=source.conversation_url(agent_id=asked.agent_id, **ids) if has_ids else None,
    )


def _list_row(told: ListProgress, day: Day, states: Mapping[Place, str]) -> ListRow:
    resumes_at = None if told.resumes_at is None else day.local(told.resumes_at)
    return ListRow(
        *_names(told),
        told_at=day.local(told.told_at),
        resumes_at=resumes_at,
        word=_list_word(told, states.get(_place(told))),
        percent=100 * told.over / told.row_count if told.row_count else 100.0,
        counts=told,
    )


def _list_word(told: ListProgress, state: str | None) -> str:
    """Return how a list stands: its task may have ended without having said so."""
    if told.status is not None:
        return told.status
    if state in _ENDED:
        return f"task {state}"
    return "running" if told.resumes_at is None else "waiting"


def _names(row: Asked | ListProgress) -> tuple[str, str, str, str]:
    """Return title, run, link and reference of a task."""
    index = f" [{row.map_index}]" if row.map_index >= 0 else ""
    title = ".".join(name for name in (row.dag_id, row.task_id) if name) or "no DAG"
    return f"{title}{index}", row.run_id, _link(row), without_international(row.reference or "")


def _link(row: Asked | ListProgress) -> str:
    """Return where a task instance is in Airflow's UI, or its run where there is no task; blank for none.

    It is relative to the page, since only a proxy may know under which path Airflow is.
    """
    index = str(row.map_index) if row.map_index >= 0 else ""
    parts = ("dags", row.dag_id), ("runs", row.run_id), ("tasks", row.task_id), ("mapped", index)
    known = takewhile(lambda part: part[1], parts)
    path = "/".join(f"{kind}/{quote(name, safe='')}" for kind, name in known)
    return f"../{path}" if path else ""


def _place(row: Asked | ListProgress) -> Place:
    return row.dag_id, row.run_id, row.task_id, row.map_index


def is_empty(found: Overview, dag_ids: Collection[str]) -> bool:
    """Whether there is nothing to show of a day."""
    return not dag_ids or not any((found.counts, found.lists, found.batches, found.unconfirmed))

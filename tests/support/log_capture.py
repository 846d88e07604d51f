"""Everything that is logged, as text: before and after Airflow's secrets masker.

A worker formats, masks and ships its log lines in three places. Here one structlog processor and one
stdlib handler take every line *before* any of that, so a private value that our code logs is visible.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

import structlog
from airflow.sdk._shared.secrets_masker import redact
from airflow.sdk.log import logger_at_level
from structlog.processors import ExceptionRenderer, StackInfoRenderer

Event = MutableMapping[str, Any]

_render_exception = ExceptionRenderer()
_render_stack = StackInfoRenderer()


@dataclass
class LogLines:
    """The lines of one capture, in the order they were logged."""

    raw: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.raw)

    @property
    def masked_text(self) -> str:
        return "\n".join(self.masked)

    def add(self, event: Event) -> None:
        """Keep one event, masked with what is known as a secret *now*, as the supervisor would."""
        self.raw.append(_as_text(event))
        self.masked.append(_as_text(cast(Event, redact(dict(event)))))


@contextmanager
def captured_logs() -> Iterator[LogLines]:
    """Take all log lines of all levels, from structlog and from stdlib logging."""
    lines = LogLines()
    with _structlog_to(lines), _stdlib_to(lines):
        yield lines


def _as_text(event: Event) -> str:
    event = dict(event)
    head = (str(event.pop(key, "-")) for key in ("level", "logger", "event"))
    blocks = [str(event.pop(key)) for key in ("stack", "exception") if key in event]
    line = " ".join([*head, *(f"{key}={value!r}" for key, value in event.items())])
    return "\n".join([line, *blocks])


@contextmanager
def _structlog_to(lines: LogLines) -> Iterator[None]:
    def keep(logger: Any, level: str, event: Event) -> NoReturn:
        name = event.pop("logger_name", None) or getattr(logger, "name", None) or "-"
        event.update(level=level, logger=name)
        lines.add(_render_exception(logger, level, _render_stack(logger, level, event)))
        raise structlog.DropEvent

    before = structlog.get_config()
    # Airflow's own class: it takes stdlib-style %s arguments. Loggers are not cached under pytest.
    logs_all = type(logger_at_level("capture", logging.DEBUG).bind())
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep], wrapper_class=logs_all)
    try:
        yield
    finally:
        structlog.configure(**before)


class _Keep(logging.Handler):
    def __init__(self, lines: LogLines) -> None:
        super().__init__(logging.DEBUG)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        event: Event = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info:
            event["exc_info"] = record.exc_info
        self.lines.add(_render_exception(None, record.levelname, event))


@contextmanager
def _stdlib_to(lines: LogLines) -> Iterator[None]:
    root, keep = logging.getLogger(), _Keep(lines)
    level = root.level
    # First in line: Airflow's masking filters edit records and exceptions in place.
    root.handlers.insert(0, keep)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(keep)

"""What a task leaves behind, to be searched for what is private."""

from __future__ import annotations

from collections.abc import Iterator

from support.task_run import TaskRun


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it came from, each of them once."""
    pending, seen = [error], set()
    while pending:
        current = pending.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            pending += [current.__cause__, current.__context__]
            yield current


def left_behind(run: TaskRun) -> dict[str, str]:
    """Return whatever of a run can be read by someone: the log even before it is masked."""
    # The masker itself has to be told what to mask; those messages end in the supervisor's memory.
    messages = [repr(msg) for msg in run.messages if type(msg).__name__ != "MaskSecret"]
    return {
        "log": run.log_text,
        "messages to the server": "\n".join(messages),
        "rendered fields": repr(run.rendered_fields),
        "xcom": repr(run.xcoms),
        "state entries": repr(run.state_store),
        "trigger": repr(run.deferral),
        "errors": "\n".join(f"{error!r} {error} {vars(error)}" for error in chain(run.error)),
    }


def search(run: TaskRun, private: tuple[str, ...]) -> None:
    """Fail if something private is in what a run leaves behind, and say where."""
    for place, text in left_behind(run).items():
        for secret in private:
            assert secret not in text, f"{secret!r} is in the {place}"

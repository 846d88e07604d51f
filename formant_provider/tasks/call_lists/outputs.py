"""The files that a call list writes: checks of where they are, before anybody is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from formant_provider.tasks.privacy import reveal
from formant_provider.tasks.storage.places import check_places, check_written_places
from formant_provider.tasks.summaries.writing import check_summary, check_written_summary

if TYPE_CHECKING:
    from formant_provider.tasks.call_lists.fields import CallListTask
    from formant_provider.tasks.run import TaskRun


def check_written(task: CallListTask) -> None:
    """Refuse invalid paths that the DAG file itself holds; the rest is checked when the task runs."""
    check_written_summary(task.summary_uri)
    check_written_places(*_places(task))


def check_outputs(task: CallListTask) -> None:
    """Refuse files that cannot be written, or would replace one that is read, before anything is read."""
    check_places(*_places(task))
    if task.summary_uri is not None:
        check_summary(task.summary_uri)


def refuse_shared_files(task: CallListTask, run: TaskRun) -> None:
    """Refuse to write a file that another row of a mapped task writes as well.

    :raises InvalidInput: with the name of the field.
    """
    from formant_provider.api.errors import InvalidInput

    if not run.is_mapped or not task.do_xcom_push:
        return
    _, tables, others = _places(task)
    files = {name: str(uri).strip() for name, uri in {**tables, **others}.items() if uri is not None}
    key = f"list {run.map_index}"
    run.publish_key(key, "", files)
    shared = run.file_of_another(key, files)
    if shared is not None:
        raise InvalidInput(shared, "is the same in another row of this mapped task; give each its own")


def _places(task: CallListTask) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return what is read, the files of rows that are written, and all other files."""
    return (
        {"calls": reveal(task.calls), "suppress": reveal(task.suppress)},
        {"results_uri": task.results_uri, "progress_uri": task.progress_uri},
        {"summary_uri": task.summary_uri},
    )

"""Where the page about a list of calls is written, and how it is checked."""

from __future__ import annotations

from datetime import datetime
from typing import IO, TYPE_CHECKING

from formant_provider.api.errors import InvalidInput
from formant_provider.tasks.options import is_template

if TYPE_CHECKING:
    from formant_provider.tasks.summaries.summary import Summary

FIELD = "summary_uri"
_SUFFIXES = (".html", ".htm")


def check_written_summary(uri: object) -> None:
    """Refuse a name that the DAG file itself holds and that no page has; the rest is checked when it runs.

    :raises InvalidInput: it does not end in ``.html`` or ``.htm``.
    """
    text = "" if uri is None else str(uri).strip()
    # A path that names no file at all is refused when the task runs, by the rules of its storage.
    if text and not text.endswith("/") and not is_template(text):
        _check_suffix(text)


def check_summary(uri: object) -> None:
    """Refuse a file that cannot be written, before anything is sent.

    :raises InvalidInput: it names no file, or not one of a page, or Airflow knows no such storage.
    """
    from formant_provider.hooks.storage.paths import to_file

    to_file(FIELD, uri)
    _check_suffix(str(uri))


def write_summary(
    uri: object, summary: Summary, *, title: str, made_at: datetime, is_over: bool | None = None
) -> str:
    """Write the page, as a whole or not at all, in place of an older one; return where it is.

    :param title: what the page is about, as text.
    :param made_at: when the rows were read; aware.
    :param is_over: whether the figures are final; ``None``: if nobody is waiting and no call is in progress.
    """
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.hooks.storage.writing import write_file
    from formant_provider.tasks.summaries.page import page

    html = page(summary, title=title, made_at=made_at, is_over=is_over)
    content = html.encode("utf-8", "replace")
    folder, name = to_file(FIELD, uri)

    def fill(file: IO[bytes]) -> str:
        file.write(content)
        return name

    return write_file(folder, fill).uri


def _check_suffix(text: str) -> None:
    if not text.strip().lower().endswith(_SUFFIXES):
        raise InvalidInput(FIELD, f"must end in {' or '.join(_SUFFIXES)}: it is a page")

"""A task that runs inside of the test process leaves no trace in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from airflow._shared.secrets_masker import reset_secrets_masker as reset_core_masker
from airflow.sdk._shared.secrets_masker import reset_secrets_masker as reset_sdk_masker


@contextmanager
def process_left_alone() -> Iterator[None]:
    """Undo what a task does to its process, which in real life ends with it."""
    environ, on_term = dict(os.environ), signal.getsignal(signal.SIGTERM)
    _forget_secrets()
    try:
        yield
    finally:
        _forget_secrets()
        signal.signal(signal.SIGTERM, on_term)
        os.environ.clear()
        os.environ.update(environ)


def _forget_secrets() -> None:
    # Airflow ships the masker twice, for the SDK and for the core; each has its own secrets.
    reset_sdk_masker()
    reset_core_masker()

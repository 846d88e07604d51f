"""An auth manager with permissions for single DAGs, which Airflow's simple one does not have.

A user called ``only_x`` may read the DAG ``x`` and no other; all others are those of the simple one.
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

ONLY = "only_"


class PerDagAuthManager(SimpleAuthManager):
    """The simple auth manager, but for users who may read one DAG alone."""

    def is_authorized_dag(self, *, user: SimpleAuthManagerUser, details: Any = None, **asked: Any) -> bool:
        """Ask the simple one about all others."""
        if user.username.startswith(ONLY) and details is not None and details.id:
            return bool(details.id == user.username.removeprefix(ONLY))
        return super().is_authorized_dag(user=user, details=details, **asked)

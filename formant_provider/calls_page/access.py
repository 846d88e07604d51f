"""Whose calls a user may see. The only place that decides it, by what Airflow's auth manager says."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

# No DAG can have this id. Who may read it may read every DAG, and so calls that belong to none.
_OF_NO_DAG = "(no DAG)"


def readable(dag_ids: Collection[str], user: BaseUser) -> list[str]:
    """Return the DAGs whose task instances a user may read.

    A DAG that Airflow does not know any more is asked about like any other: those who may read all DAGs see
    its calls, and nobody else does.

    :param dag_ids: as the call store has them.
    """
    manager = get_auth_manager()
    asked = {dag_id: _request(dag_id) for dag_id in dag_ids}
    if not asked or manager.batch_is_authorized_dag(list(asked.values()), user=user):
        return list(asked)
    return [dag_id for dag_id, request in asked.items() if manager.is_authorized_dag(**request, user=user)]


def _request(dag_id: str) -> Any:
    details = DagDetails(id=dag_id or _OF_NO_DAG, team_name=_team_of(dag_id))
    return {"method": "GET", "access_entity": DagAccessEntity.TASK_INSTANCE, "details": details}


def _team_of(dag_id: str) -> str | None:
    if not conf.getboolean("core", "multi_team", fallback=False):
        return None
    from airflow.models.dag import DagModel

    return DagModel.get_team_name(dag_id)

"""What this Airflow has, found out by looking and not by its number."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from airflow.sdk.execution_time import comms

HAS_STATE_STORE = hasattr(comms, "GetTaskStateStore")
HAS_LOOPS = find_spec("airflow.sdk.definitions.loop") is not None
HAS_YAML_DAGS = find_spec("airflow.sdk.importers") is not None
HAS_RETRY_POLICIES = find_spec("airflow.sdk.definitions.retry_policy") is not None

needs_state_store = pytest.mark.skipif(
    not HAS_STATE_STORE, reason="the task state store came with Airflow 3.3"
)
needs_retry_policies = pytest.mark.skipif(
    not HAS_RETRY_POLICIES, reason="retry policies came with Airflow 3.3"
)
takes_long = pytest.mark.skipif(
    not HAS_STATE_STORE, reason="takes long and depends on no Airflow: run on 3.3 and later alone"
)
needs_loops = pytest.mark.skipif(not HAS_LOOPS, reason="loops came with Airflow 3.4")
needs_yaml_dags = pytest.mark.skipif(not HAS_YAML_DAGS, reason="YAML DAGs came with Airflow 3.4")

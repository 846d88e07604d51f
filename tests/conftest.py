"""Runs before any test module is imported: Airflow reads its home while it is imported."""

from __future__ import annotations

from support.airflow_home import use_own_airflow_home
from support.databases import database

__all__ = ["database"]

use_own_airflow_home()

"""Apache Airflow provider for FormantAI Voice: phone calls declared in DAG files."""

from __future__ import annotations

from typing import Any

from formant_provider.__about__ import __version__

__all__ = ["__version__", "get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Tell Airflow what this provider brings; the entry point ``apache_airflow_provider`` names it."""
    from formant_provider.provider_info import PROVIDER_INFO

    return PROVIDER_INFO

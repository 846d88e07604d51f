"""Lineage of tasks for OpenLineage: which files they read and write, and which batch call that was.

The methods are called by ``apache-airflow-providers-openlineage``, where it is installed. See
https://airflow.apache.org/docs/apache-airflow-providers-openlineage/stable/guides/developer.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from formant_provider.tasks.privacy import reveal
from formant_provider.tasks.storage.uris import dataset_name, without_secrets
from formant_provider.tasks.telling import told

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

# Fields of tasks that may name files.
READ = ("contacts", "calls", "suppress")
WRITTEN = ("results_uri", "output_uri", "progress_uri", "summary_uri", "rejects_uri")
# Those of them whose columns, and numbers of rows, are known.
_TABLES = ("results_uri", "output_uri")


class LeavesLineage:
    """Tells OpenLineage which files a task reads and writes."""

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return the files, as far as they are named."""
        return lineage_of(self, {})

    def get_openlineage_facets_on_complete(
        self,
        task_instance: object,  # noqa: ARG002 - what is needed is kept with the task
    ) -> OperatorLineage[Any, Any]:
        """Return the files, how many rows were written, and the id of the batch call."""
        return lineage_of(self, told(self))


def lineage_of(task: Any, result: Mapping[str, Any]) -> OperatorLineage[Any, Any]:
    """Return the lineage of a task.

    :param result: what is known of how it ended; empty when it has not.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset, ExternalQueryRunFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    names = (dataset_name(_address(reveal(getattr(task, field, None)))) for field in READ)
    inputs: list[Any] = [Dataset(*name) for name in names if name is not None]
    outputs = [each for field in WRITTEN if (each := _output(task, field, result)) is not None]
    facets: dict[str, Any] = {}
    if (batch_id := result.get("batch_id")) is not None:
        source = without_secrets(task.hook.get_config().base_url)
        facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=str(batch_id), source=source)
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets=facets)


def _address(value: object) -> object:
    """Return what may name a file: rows that a task was given instead are private, and may be many."""
    return value if isinstance(value, str) or hasattr(value, "__fspath__") else None


def _columns(task: Any) -> Mapping[str, str | None]:
    """Return the columns of the table that a task writes, each with what it holds where that is known."""
    if (report := getattr(task, "report_options", None)) is not None:
        return dict.fromkeys(report.columns(has_parts=_has_parts(task.contacts)))
    if (results := getattr(task, "result_options", None)) is not None:
        return {**results.kinds(has_parts=_has_parts(task.calls)), **results.result_kinds()}
    return dict.fromkeys(task.fields)


def _has_parts(given: object) -> bool:
    """Whether rows come from several files, as far as their address says so: by a pattern, or as a folder."""
    from formant_provider.core.tables.parts import has_pattern

    address = _address(reveal(given))
    return address is not None and (has_pattern(str(address)) or not PurePosixPath(str(address)).suffix)


def _output(task: Any, field: str, result: Mapping[str, Any]) -> Any:
    from airflow.providers.common.compat.openlineage.facet import (
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )

    name = dataset_name(getattr(task, field, None))
    if name is None:
        return None
    facets: dict[str, Any] = {}
    statistics: dict[str, Any] = {}
    if field in _TABLES:
        columns = [SchemaDatasetFacetFields(name=each, type=kind) for each, kind in _columns(task).items()]
        facets["schema"] = SchemaDatasetFacet(fields=columns)
        if (rows := _rows(result)) is not None:
            facet = OutputStatisticsOutputDatasetFacet(rowCount=rows, size=result.get("size"))
            statistics["outputStatistics"] = facet
    return OutputDataset(*name, facets=facets, outputFacets=statistics)


def _rows(result: Mapping[str, Any]) -> int | None:
    """Return how many rows the table of a task has; ``None`` when that is not known."""
    if (rows := result.get("rows", result.get("count"))) is not None:
        return int(rows)
    if result.get("results_uri") is None or result.get("by_status") is None:
        return None
    counts: Mapping[str, int] = result["by_status"]
    return sum(counts.values()) + int(result.get("rejected") or 0)

"""The asset of an agent: how Airflow checks its URI, and how lineage names it.

Airflow calls both functions, as ``asset-uris`` in the provider's metadata says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from openlineage.client.generated.base import Dataset

SCHEME = "formant"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the URI of an agent's asset as it is.

    :raises ValueError: it names no agent.
    """
    name = uri.path.removeprefix("/")
    if uri.netloc != "agents" or not (name.isascii() and name.isdigit()) or uri.query:
        raise ValueError(f"URI format {SCHEME}:// must name an agent, as {SCHEME}://agents/7 does")
    return uri


def to_openlineage(asset: Any, lineage_context: object) -> Dataset:  # noqa: ARG001 - of Airflow's signature
    """Return what stands for an agent's asset in lineage."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=SCHEME, name=f"{uri.netloc}{uri.path}")

"""A local FormantAI for demos and tests: strict, on loopback, with its own clock and with faults on demand.

It imports nothing from the rest of the package. The vendor's facts are read a second time here, so a field
name that is wrong in the client cannot be wrong in the same way in the server it is tested against.

.. code-block:: python

    with Sandbox(speed=0) as sandbox:
        sandbox.inject("POST /v1/call", Fault.DROP_AFTER)
        ...  # point a client at sandbox.base_url
        assert sandbox.rings["+14155550100"] == 1
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formant_provider.sandbox.faults import Fault
    from formant_provider.sandbox.server import Sandbox
    from formant_provider.sandbox.settings import Settings
    from formant_provider.sandbox.webhook_faults import WebhookFault

__all__ = ["Fault", "Sandbox", "Settings", "WebhookFault"]

_MODULES = {
    "Fault": "faults",
    "Sandbox": "server",
    "Settings": "settings",
    "WebhookFault": "webhook_faults",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing the package does not load a web server."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

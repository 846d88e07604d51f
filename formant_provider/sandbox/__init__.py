"""A local FormantAI: the Voice API on loopback, strict, with a clock you own and faults you choose.

It imports nothing from the rest of the package. The vendor's facts are read a second time here, so a field
name that is wrong in the client cannot be wrong in the same way in the server it is tested against.

.. code-block:: python

    with Sandbox(speed=0) as sandbox:
        sandbox.inject("POST /v1/call", Fault.DROP_AFTER)
        ...  # point a client at sandbox.base_url
        assert sandbox.rings["+14155550100"] == 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formant_provider.sandbox.faults import Fault
    from formant_provider.sandbox.server import Sandbox

__all__ = ["Fault", "Sandbox"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not load a web server."""
    if name == "Fault":
        from formant_provider.sandbox.faults import Fault

        return Fault
    if name == "Sandbox":
        from formant_provider.sandbox.server import Sandbox

        return Sandbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

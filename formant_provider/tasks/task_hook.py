"""The hook of a task: one for each connection, so that a connection is read once."""

from __future__ import annotations

from formant_provider.hooks.formant import FormantHook


class HoldsHook:
    """Gives an operator or sensor its hook."""

    formant_conn_id: str
    region: str | None

    @property
    def hook(self) -> FormantHook:
        """The hook of this task, which reads the connection once; another connection has another hook."""
        known: FormantHook | None = vars(self).get("_hook")
        wanted = (self.formant_conn_id, self.region)
        if known is None or (known.formant_conn_id, known.region) != wanted:
            known = vars(self)["_hook"] = FormantHook(*wanted)
        return known

"""How often a task may call one person: its own cap, or its connection's, and what is refused of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from formant_provider.tasks.options import Word, one_of

if TYPE_CHECKING:
    from formant_provider.call_cap import CallCap
    from formant_provider.core.caps import CapRule
    from formant_provider.hooks.formant import FormantHook

OnCapped: TypeAlias = Literal["skip", "fail", "schedule"]
OnCappedUpload: TypeAlias = Literal["skip", "fail"]
_NO_SCHEDULE = (
    'on_capped="schedule" is not for a batch call: the vendor gives no row of it a time of its own. Use'
    " FormantCallListOperator instead, in which each person waits until the cap allows it. Here it is"
    ' "skip" or "fail"'
)


def check_cap(
    call_cap: CallCap | Mapping[str, Any] | None, on_capped: Word, choices: Collection[str]
) -> tuple[CallCap | None, Word]:
    """Return the cap, which is documented at the operator, checked when the DAG file is parsed."""
    if call_cap is not None:
        from formant_provider.call_cap import CallCap

        call_cap = CallCap.of(call_cap)
    if on_capped == "schedule" and on_capped not in choices:
        raise ValueError(_NO_SCHEDULE)
    return call_cap, one_of("on_capped", on_capped, choices)


@dataclass(frozen=True)
class CapOptions:
    """What a user chose of the cap, with its fields rendered. See the operator.

    :param call_cap: the task's own; ``None`` means the connection's, if it has one.
    """

    call_cap: CallCap | None
    on_capped: OnCapped

    @classmethod
    def from_text(cls, call_cap: CallCap | str | None, on_capped: OnCapped) -> Self:
        """Return the options where a cap may be written as a connection names it, such as ``2/1d``."""
        from formant_provider.api.store_config import parse_call_cap
        from formant_provider.call_cap import CallCap

        if isinstance(call_cap, str):
            # Blank text is no way to say None: a template may come to it by mistake.
            calls, per = parse_call_cap(call_cap.strip()) or (0, 0)
            call_cap = CallCap(calls, per)
        return cls(CallCap.of(call_cap), on_capped)

    def rule(self, default: CapRule | None) -> CapRule | None:
        """Return the rule that holds, if any.

        :param default: the connection's.
        :raises InvalidInput: with the name of the field at fault.
        """
        return default if self.call_cap is None else self.call_cap.rule()

    def in_force(self, hook: FormantHook) -> CapRule | None:
        """Return the rule that holds for a call of this connection, if any."""
        from formant_provider.core.caps import CapRule

        config = hook.get_config().store
        default = config.call_cap if config else None
        return self.rule(CapRule(*default) if default else None)

    def check(self, hook: FormantHook) -> None:
        """Check, before anything is sent, the cap and that there is something to count with.

        :raises InvalidInput: the cap is invalid, or its connection has no store.
        """
        from formant_provider.api.errors import InvalidInput

        store = hook.get_config().store
        if self.rule(None) is not None and store is None:
            raise InvalidInput(
                "call_cap",
                "needs a call store: name its connection in store_conn_id of the connection"
                f" {hook.formant_conn_id!r}",
            )

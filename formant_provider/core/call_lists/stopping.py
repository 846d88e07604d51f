"""When a list stops before its end. The only place that decides it.

What is counted is what is over. So a list that stops may go beyond a limit by the calls that are in progress
then: they continue, and nobody is called any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from formant_provider.core.call_lists.tally import Tally

FAILED_AFTER = 50
"""So many attempts have to be over before the share of those that failed says anything."""


@dataclass(frozen=True)
class StopRule:
    """The limits of a list; ``None`` is no limit.

    :param reached: so many people are reached.
    :param minutes: conversations lasted so long together.
    :param cost: they cost so much together, at ``cost_per_minute``.
    :param failed_above: more percent of the attempts failed, from ``after`` attempts that are over on.
    """

    reached: int | None = None
    minutes: float | None = None
    cost: float | None = None
    cost_per_minute: float = 0.0
    failed_above: float | None = None
    after: int = FAILED_AFTER

    def reason(self, tally: Tally) -> str | None:
        """Return why the list stops now, in words; ``None`` while it continues."""
        if self.reached is not None and tally.reached >= self.reached:
            return f"{tally.reached} people were reached; the goal is {self.reached} (stop_when.reached)"
        return self._of_time(tally.seconds / 60) or self._of_failures(tally)

    def _of_time(self, minutes: float) -> str | None:
        if self.minutes is not None and minutes >= self.minutes:
            return (
                f"the conversations lasted {minutes:.1f} minutes together; the limit is"
                f" {self.minutes:g} (stop_when.minutes)"
            )
        cost = minutes * self.cost_per_minute
        if self.cost is not None and cost >= self.cost:
            return (
                f"the conversations cost {cost:.2f}, being {minutes:.1f} minutes at"
                f" {self.cost_per_minute:g}; the limit is {self.cost:g} (stop_when.cost)"
            )
        return None

    def _of_failures(self, tally: Tally) -> str | None:
        if self.failed_above is None or tally.ended < self.after:
            return None
        # Multiplied, since a quotient may be a little more than what it is.
        if not 100 * tally.failed > self.failed_above * tally.ended:
            return None
        return (
            f"{tally.failed} of {tally.ended} attempts failed, {100 * tally.failed / tally.ended:.1f} %; the"
            f" limit is {self.failed_above:g} % from {self.after} attempts on (stop_when.failed_above)"
        )

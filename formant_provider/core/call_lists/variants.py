"""Which agent calls whom, where several share a list: the same for a person in every try and every run.

This is rendezvous hashing with weights: each agent draws a score for each person, and the highest calls. An
agent that is added takes people from all others and moves nobody else, and one that is removed leaves its own
to them. See https://en.wikipedia.org/wiki/Rendezvous_hashing
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from formant_provider.api.errors import InvalidInput
from formant_provider.core.validation import to_whole_number

_BYTES = 6


class Variants:
    """The agents of a list, and which share of the people each one calls.

    :param agents: the weight of each, by agent id: positive numbers of any size, whose ratio counts.
    :param salt: text that names the test. Tests over the same people that share an agent assign them alike
        unless their salts differ.
    :raises InvalidInput: there is no agent, one is named twice, or an id or a weight is invalid.
    """

    def __init__(self, agents: Mapping[Any, Any], salt: str = "") -> None:
        if not isinstance(agents, Mapping) or not agents:
            raise InvalidInput("agents", "must name the weight of each agent, such as {456: 0.5, 457: 0.5}")
        if not isinstance(salt, str):
            raise InvalidInput("agents", "their salt must be text")
        self.weights = {to_whole_number("agents", key): _weight(value) for key, value in agents.items()}
        if len(self.weights) != len(agents):
            raise InvalidInput("agents", "name an agent twice")
        self.salt = salt

    def __repr__(self) -> str:
        # It is part of a DAG, and what differs from parse to parse is a new DAG.
        return f"Variants({dict(sorted(self.weights.items()))}, salt={self.salt!r})"

    def agent_for(self, recipient: str) -> int:
        """Return the id of the agent that calls a person.

        :param recipient: the number in E.164.
        """
        return max(self.weights, key=lambda agent_id: (self._score(agent_id, recipient), agent_id))

    def _score(self, agent_id: int, recipient: str) -> float:
        # JSON keeps ("a", "bc") and ("ab", "c") apart.
        text = json.dumps([self.salt, agent_id, str(recipient)])
        drawn = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BYTES).digest(), "big")
        # Between 0 and 1, and neither of them.
        return self.weights[agent_id] / -math.log((drawn + 0.5) / 256**_BYTES)


def _weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidInput(
            "agents", "the weight of each must be a number above 0; leave out whoever has none"
        )
    return float(value)

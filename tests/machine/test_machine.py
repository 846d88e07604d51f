"""Days in the life of whole DAGs, in any order: nobody is called twice, and nobody's ids are another's."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from formant_provider.sandbox import Fault
from support.machine import ENDPOINTS, FIRED, LEDGERS, PlacingMachine, faults_of
from support.versions import needs_state_store

SEED = int(os.environ.get("MACHINE_SEED", "20260318"))
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "125"))
STEPS = 25
RULES = (
    "new call",
    "new mapped call",
    "new batch call",
    "new mapped batch call",
    "retry",
    "clear",
    "clear, state dropped",
    "state entry deleted",
    "list grew",
    "list shrank",
    "list reordered",
    "killed",
    "overtaken",
    "others called",
    "inbound call",
    "platform redialled",
    "deferred",
    "3600 s pass",
    "86400 s pass",
    "90000 s pass",
    *(f"ledger {ledger}" for ledger in LEDGERS),
    "receipt in the call store",
)
# Struck seldom enough that a short run with one seed need not meet each at each endpoint.
FAULTS = {fault for endpoint in ENDPOINTS for fault in faults_of(endpoint)} - {Fault.HANG_BEFORE}

pytestmark = needs_state_store


@pytest.mark.timeout(600)
def test_whatever_happens_everybody_is_rung_once_and_ids_are_their_own(capsys):
    """Runs, retries, clears, other lists, faults, deaths, clocks, other people: one ring for each intent."""
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(SEED)(PlacingMachine), settings=chosen)
    except BaseException:
        with capsys.disabled():
            print(f"\nThe state machine failed with MACHINE_SEED={SEED} MACHINE_EXAMPLES={EXAMPLES}")  # noqa: T201 - for people
        raise


def test_every_rule_and_every_fault_did_fire():
    """The test above is not vacuous: everything that can happen did, in one of its runs."""
    assert FIRED, "runs after the test above, in the same process"
    assert not [name for name in RULES if not FIRED[name]]
    struck = {name.split()[1] for name in FIRED if name.startswith("fault ")}
    assert not {str(fault) for fault in FAULTS} - struck

"""Calling hours on the operator: options, templates, and what becomes of a task outside of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pendulum
import pytest
from airflow.serialization.helpers import serialize_template_field

from formant_provider.calling_window import CallingWindow
from formant_provider.core.hours.zone_database import database, note_version
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import make_dag, run_task
from support.versions import needs_state_store

CREATE_CALL = "POST /v1/call"
INDIA = "+919876543210"
NOWHERE = "+883510001234567"
EVENING = pendulum.datetime(2026, 11, 25, 15)  # half past eight in India
NOON = pendulum.datetime(2026, 11, 25, 6)
MORNING = "2026-11-26T03:30:00Z"

pytestmark = pytest.mark.usefixtures("sleeps")
SetClock = Callable[[datetime], None]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(start_at=NOON, speed=0, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def clock(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets our clock and the sandbox's, which never goes back."""
    monkeypatch.setattr(pendulum, "now", lambda *_: pendulum.instance(sandbox.now()))

    def set_to(moment: datetime) -> None:
        sandbox.advance((moment - sandbox.now()).total_seconds())

    return set_to


def an_operator(**fields: Any) -> FormantCreateCallOperator:
    defaults = {"agent_id": 456, "parameters": {"customer_phone": INDIA}, "calling_window": CallingWindow()}
    return FormantCreateCallOperator(task_id="call", retries=3, **{**defaults, **fields})


def moments(sandbox: Sandbox) -> list[str]:
    return [pendulum.instance(call.starts_at).to_iso8601_string() for call in sandbox.calls]


def test_in_the_evening_a_call_is_scheduled_for_the_morning(
    sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """The vendor holds it until nine o'clock where the recipient is; the receipt says so."""
    clock(EVENING)
    run = run_task(an_operator(), channel)
    assert (run.state, moments(sandbox)) == ("success", [MORNING])
    assert run.xcoms["return_value"]["status"] == "scheduled"
    assert run.xcoms["return_value"]["scheduled_for"] == MORNING
    assert f"the call is scheduled for its next opening, {MORNING}" in run.log_text


def test_at_noon_a_call_goes_out_at_once(sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock) -> None:
    """Within the hours nothing is different from a task without them."""
    clock(NOON)
    run = run_task(an_operator(), channel)
    assert (run.state, moments(sandbox)) == ("success", ["2026-11-25T06:00:00Z"])
    assert "scheduled_for" not in sandbox.requests[0].body


@pytest.mark.parametrize(("on_closed", "state"), [("skip", "skipped"), ("fail", "failed")])
def test_a_task_may_be_skipped_or_fail_instead(
    on_closed: Any, state: str, sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """Nothing is sent, there is no retry, and the log says why and when it would have been possible."""
    clock(EVENING)
    run = run_task(an_operator(on_closed=on_closed), channel)
    assert (run.state, sandbox.requests) == (state, [])
    assert f"calling_window is closed now; it opens next at {MORNING}. No call was placed" in run.log_text
    assert INDIA.strip("+") not in run.log_text


@pytest.mark.parametrize("asked", ["2026-11-25T18:00:00+00:00", "2026-11-26T08:59:00+05:30"])
def test_a_moment_outside_is_moved_to_the_opening_after_it(
    asked: str, sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """A given scheduled_for is judged like now."""
    clock(NOON)
    assert run_task(an_operator(scheduled_for=asked), channel).state == "success"
    assert moments(sandbox) == [MORNING]


def test_a_moment_inside_is_kept(sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock) -> None:
    """What the user asked for is what the vendor is asked for."""
    clock(NOON)
    run_task(an_operator(scheduled_for="2026-11-27T12:00:00+05:30"), channel)
    assert moments(sandbox) == ["2026-11-27T06:30:00Z"]


def test_every_field_of_the_hours_is_a_template(
    sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """Variables, params and macros may say when to call; Airflow shows what they came to."""
    clock(EVENING)
    channel.variables |= {"start": "10:00", "off": '["2026-11-26"]'}
    with make_dag(params={"zone": "Europe/London"}):
        operator = an_operator(
            calling_window=CallingWindow(
                "{{ var.value.start }}",
                "{{ '18' ~ ':00' }}",
                ["{{ 'thu' }}", "fri"],
                "{{ params.zone }}",
                "{{ var.json.off }}",
            ),
            parameters={"customer_phone": NOWHERE},
        )
    run = run_task(operator, channel)
    assert moments(sandbox) == ["2026-11-27T10:00:00Z"], run.log_text
    shown = run.rendered_fields["calling_window"]
    assert shown["start"] == "10:00"
    assert shown["days"] == ["thu", "fri"]
    assert json.loads(json.dumps(shown)) == shown


def test_two_runs_share_no_rendered_hours(sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock) -> None:
    """Hours kept in one object for many tasks are rendered for each run anew."""
    clock(EVENING)
    window = CallingWindow("{{ dag_run.conf.start }}", "20:00")
    operator = an_operator(calling_window=window)
    for run_id, start in (("r1", "10:00"), ("r2", "11:00")):
        run_task(operator, channel, run_id=run_id, conf={"start": start})
    assert window.start == "{{ dag_run.conf.start }}"
    assert moments(sandbox) == ["2026-11-26T04:30:00Z", "2026-11-26T05:30:00Z"]


def test_mapped_people_are_called_in_their_own_morning(
    sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """Each row of a mapped list is judged by its own number."""
    clock(pendulum.datetime(2026, 11, 25, 22))
    people = [{"customer_phone": number} for number in (INDIA, "+442071838750", "+14155550100")]
    with make_dag():
        mapped = FormantCreateCallOperator.partial(
            task_id="call", agent_id=456, calling_window=CallingWindow()
        ).expand(parameters=people)
    for index in range(3):
        run_task(mapped, channel, map_index=index)
    assert moments(sandbox) == [MORNING, "2026-11-26T09:00:00Z", "2026-11-25T22:00:00Z"]


REFUSED = {
    "a template that renders to nonsense": ({"start": "{{ 'nine' }}"}, INDIA, "calling_window.start"),
    "a number of unknown zone": ({}, NOWHERE, "calling_window.timezone"),
    "closed for a month": ({"holidays": "{{ var.value.off }}"}, INDIA, "calling_window: is closed until"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_hours_that_make_no_sense_are_refused_before_anything_is_sent(
    case: tuple[dict[str, str], str, str], sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """The task fails at once, without a retry, and the number is not in its log."""
    clock(EVENING)
    fields, number, text = case
    channel.variables["off"] = " ".join(f"{EVENING.add(days=n):%Y-%m-%d}" for n in range(33))
    run = run_task(
        an_operator(calling_window=CallingWindow(**fields), parameters={"customer_phone": number}), channel
    )
    assert (run.state, sandbox.requests) == ("failed", [])
    assert text in run.log_text
    assert number.strip("+") not in run.log_text


def test_what_was_placed_is_handed_on_at_any_hour(
    sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """A clear in the evening, of a call that was placed at noon, returns its receipt."""
    clock(NOON)
    first = run_task(an_operator(on_closed="skip"), channel, logical_date=NOON)
    clock(EVENING)
    again = run_task(an_operator(on_closed="skip"), channel, try_number=2, logical_date=NOON)
    assert again.state == "success"
    assert again.xcoms["trace_id"] == first.xcoms["trace_id"] == sandbox.calls[0].trace_id
    assert sandbox.rings == {INDIA: 1}


@pytest.mark.parametrize("on_closed", ["schedule", "skip", "fail"])
def test_a_retry_in_the_evening_finds_the_call_of_noon(
    on_closed: Any, sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """The first answer was lost: the call is found, and neither moved nor skipped."""
    clock(NOON)
    sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=3)
    assert run_task(an_operator(on_closed=on_closed), channel, logical_date=NOON).state == "up_for_retry"
    clock(EVENING)
    run = run_task(an_operator(on_closed=on_closed), channel, try_number=2, logical_date=NOON)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["placement"] == "found"
    assert moments(sandbox) == [NOON.to_iso8601_string()]


@needs_state_store
@pytest.mark.parametrize(("on_closed", "state"), [("schedule", "success"), ("skip", "skipped")])
def test_a_retry_in_the_evening_of_a_call_that_was_refused_goes_by_the_hours(
    on_closed: Any, state: str, sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """Nobody was called at noon, for sure; so the hours hold as for a first try."""
    clock(NOON)
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, times=4)
    assert run_task(an_operator(on_closed=on_closed), channel).state == "up_for_retry"
    clock(EVENING)
    run = run_task(an_operator(on_closed=on_closed), channel, try_number=2)
    assert run.state == state
    assert moments(sandbox) == ([MORNING] if state == "success" else [])


def test_a_task_that_waits_does_so_from_the_opening_on(channel: FakeSupervisor, clock: SetClock) -> None:
    """The timeout begins when the phone rings, not in the evening before."""
    clock(EVENING)
    operator = an_operator(wait_for_completion=True, deferrable=True, timeout=timedelta(hours=2))
    run = run_task(operator, channel)
    assert run.state == "deferred"
    assert datetime.fromisoformat(run.trigger_kwargs["deadline"]) == pendulum.parse(MORNING).add(hours=2)
    assert INDIA.strip("+") not in repr(run.deferral)


WRONG_OPTIONS = [{"calling_window": "09:00-20:00"}, {"calling_window": {}}, {"on_closed": "wait"}]


@pytest.mark.parametrize("option", WRONG_OPTIONS, ids=repr)
def test_an_option_that_cannot_be_meant_breaks_the_dag_file(option: dict[str, Any]) -> None:
    """A mistake shows when the DAG is parsed."""
    (name,) = option
    with pytest.raises(ValueError, match=name):
        an_operator(**option)


MORE_HOURS = {
    "by country": (CallingWindow(timezone={"IN": "Pacific/Auckland"}), "2026-11-25T20:00:00Z"),
    "by branch": (
        CallingWindow(timezone={"Pune": "Pacific/Auckland"}, timezone_by="{{ params.branch }}"),
        "2026-11-25T20:00:00Z",
    ),
    "by a branch without a zone": (
        CallingWindow(timezone={"Delhi": "UTC"}, timezone_by="{{ params.branch }}"),
        MORNING,
    ),
    "a template in a mapping": (CallingWindow(timezone={"IN": "{{ params.zone }}"}), "2026-11-26T00:00:00Z"),
    "recipient, by a template": (CallingWindow(timezone="{{ 'recipient' }}"), MORNING),
}


@pytest.mark.parametrize(("window", "expected"), MORE_HOURS.values(), ids=MORE_HOURS)
def test_zones_may_be_given_by_country_or_by_a_value_of_the_run(
    window: CallingWindow, expected: str, sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """Airflow renders what is in the mapping, and what it is looked up by."""
    clock(EVENING)
    with make_dag(params={"branch": "Pune", "zone": "Asia/Tokyo"}):
        operator = an_operator(calling_window=window)
    run = run_task(operator, channel)
    assert moments(sandbox) == [expected], run.log_text
    assert run.rendered_fields["calling_window"]["timezone"] != "{{ 'recipient' }}"


@pytest.mark.parametrize("kind", ["object", "recipient"])
def test_holidays_that_fill_themselves_are_kept_when_fields_are_rendered(
    kind: str, sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """Airflow makes a plain mapping of any in a template field; Republic Day is a day off all the same."""
    library = pytest.importorskip("holidays")
    days = library.country_holidays("IN") if kind == "object" else "recipient"
    operator = an_operator(calling_window=CallingWindow(holidays=days))
    clock(pendulum.datetime(2027, 1, 25, 20))
    run = run_task(operator, channel)
    assert moments(sandbox) == ["2027-01-27T03:30:00Z"], run.log_text
    shown = run.rendered_fields["calling_window"]["holidays"]
    assert shown == ("holidays.IN(country='IN', categories=['public'])" if kind == "object" else "recipient")


def test_a_window_with_holidays_is_the_same_whenever_it_is_parsed() -> None:
    """What was asked before in the process does not show in the serialized DAG, which would be a new one."""
    library = pytest.importorskip("holidays")
    fields = []
    for asked in (False, True):
        days = library.country_holidays("IN")
        if asked:
            assert datetime(2027, 1, 26).date() in days
        window = CallingWindow(holidays=days, timezone={"IN": "Asia/Kolkata"})
        fields.append(serialize_template_field(window, "calling_window"))
    assert fields[0] == fields[1]
    assert "country='IN'" in str(fields[0])


def test_the_time_zone_database_that_counts_is_in_the_log(channel: FakeSupervisor, clock: SetClock) -> None:
    """With its version; once in a process."""
    note_version.cache_clear()
    clock(NOON)
    assert f"time zone database {database().version}" in run_task(an_operator(), channel).log_text

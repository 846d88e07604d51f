"""What follows for a row from what came of its call: one test for each line of the rule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.errors import (
    AuthenticationFailed,
    BadResponse,
    CallNotAllowed,
    CallOutcomeUnknown,
    ConcurrencyLimited,
    DuplicateRequest,
    FormantError,
    InvalidInput,
    InvalidRequest,
    NotAdmitted,
    NotFound,
    RateLimited,
    RequestRefused,
    ResponseLost,
    SendAborted,
    ServerError,
    StoreUnavailable,
    Unreachable,
)
from formant_provider.api.retry import Quota
from formant_provider.core.call_lists.attempting import AttemptRule
from formant_provider.core.call_lists.calls import Attempt
from formant_provider.core.call_lists.judging import Close, Follow, Judging, Verdict, Wait
from formant_provider.core.call_lists.placing import REACHED, TALKING, Came, listed_of
from formant_provider.core.calls.placement import Placement, Result
from formant_provider.core.pace import PaceExceeded
from support.list_rows import a_call, came, not_reached

NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TWICE = AttemptRule(2, {"no_answer": HOUR})


class World:
    """A clock, how many requests were answered, and what decides."""

    def __init__(self, rule: AttemptRule = TWICE, try_number: int = 1) -> None:
        self.now, self.answers = NOW, 0
        success = frozenset({"completed"})
        self.judging = Judging(rule, success, try_number, lambda: self.now, lambda: self.answers)

    def fail(self, error: FormantError | None, place: int = 1, **fields: Any) -> Verdict:
        call, sent_at = a_call(place, attempt=fields.pop("attempt", 1)), fields.pop("sent_at", None)
        return self.judging.not_placed(call, came(error, call, **fields), sent_at)


@pytest.fixture
def world() -> World:
    return World()


def test_whoever_was_reached_is_not_called_again(world: World) -> None:
    """However often a list may call."""
    assert world.judging.after_attempt(a_call(), [Attempt(1, "completed")]) == Close()


def test_whoever_was_not_reached_is_called_again_when_the_rule_says(world: World) -> None:
    """The next attempt has the next number."""
    ended = [not_reached(end_ms=int(NOW.timestamp() * 1000))]
    assert world.judging.after_attempt(a_call(), ended) == Wait(NOW + HOUR, 2)


def test_whoever_was_called_as_often_as_chosen_is_over(world: World) -> None:
    """The reason stands beside the status of the last attempt."""
    ended = [not_reached(1), not_reached(2)]
    assert world.judging.after_attempt(a_call(attempt=2), ended) == Close("attempts_used")


@pytest.mark.parametrize("status", ["voicemail_reached", "no_record", "a new word"])
def test_a_status_that_the_rule_does_not_name_ends_a_row(world: World, status: str) -> None:
    """The reason says so; in a list of one attempt there is nothing to be said about attempts."""
    assert world.judging.after_attempt(a_call(), [Attempt(1, status)]) == Close("not_named")
    assert World(AttemptRule()).judging.after_attempt(a_call(), [Attempt(1, status)]) == Close()


def test_of_whom_nothing_is_known_no_reason_is_known(world: World) -> None:
    """The status says it all."""
    assert world.judging.after_attempt(a_call(), [Attempt(1, "unknown")]) == Close()


def test_what_the_api_has_refused_is_asked_for_again_in_a_further_try() -> None:
    """Within the same try it would say no again."""
    refused = [Attempt(1, "refused", in_try=1)]
    assert World(try_number=1).judging.after_attempt(a_call(), refused) == Close("refused")
    assert World(try_number=2).judging.after_attempt(a_call(), refused) == Wait(NOW, 1)


def test_a_call_whose_time_has_not_come_waits_for_it(world: World) -> None:
    """The hours, a cap: the reason is kept beside the row."""
    due = NOW + 3 * HOUR
    verdict = world.fail(CallNotAllowed("not yet", reason="closed"), due=due, attempt=2)
    assert verdict == Wait(due, 2, "closed")


def test_a_call_that_is_not_allowed_at_all_is_over(world: World) -> None:
    """The do-not-call list, a cap with "skip"."""
    assert world.fail(NotAdmitted("no", reason="suppressed")) == Close("suppressed")


def test_a_call_that_may_have_been_placed_and_that_nothing_tells_of_is_over(world: World) -> None:
    """Nobody is called twice for that; the ledger remembers it."""
    verdict = world.fail(CallOutcomeUnknown("who knows", maybe_placed=True), attempt=2)
    assert verdict == Close(attempt=Attempt(2, "unknown"))


def test_a_row_that_asks_for_what_cannot_be_is_over(world: World) -> None:
    """The results name the field, and not its value."""
    assert world.fail(InvalidInput("metadata", "is too long")) == Close(
        "invalid_input", "metadata is too long"
    )


def test_a_number_whose_hours_nobody_knows_is_left_out_by_that_word(world: World) -> None:
    """As single calls and contacts have it."""
    verdict = world.fail(InvalidInput("calling_window.zone", "does not cover this number"))
    assert isinstance(verdict, Close)
    assert verdict.reason == "hours_unknown"


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (InvalidRequest("no", status=400, error_type="invalid_request"), "400 invalid_request"),
        (NotFound("no", status=404), "404"),
        (DuplicateRequest("no"), "DuplicateRequest"),
    ],
)
def test_what_the_api_refuses_for_good_closes_its_row_alone(
    world: World, error: FormantError, detail: str
) -> None:
    """The results say how it was refused, and a further try may ask again."""
    verdict = world.fail(error)
    assert verdict == Close("refused", detail, Attempt(1, "refused", in_try=1))


def test_an_agent_that_is_not_there_is_not_asked_for_all_the_time(world: World) -> None:
    """After twenty-five of its rows the others are refused without being sent; other agents are asked."""
    for place in range(25):
        assert world.judging.hopeless(a_call(place)) is None
        assert isinstance(world.fail(NotFound("no", status=404), place), Close)
    verdict = world.judging.hopeless(a_call(25))
    assert isinstance(verdict, Close)
    assert verdict.reason == "refused"
    assert world.judging.hopeless(a_call(26)._replace(agent_id=789)) is None


def test_an_agent_that_has_placed_calls_is_there(world: World) -> None:
    """Also in an earlier try: it is asked for, however many of its rows are refused."""
    world.judging.knows_as_placed(a_call(0).agent_id)
    for place in range(1, 40):
        world.fail(NotFound("no", status=404), place)
    assert world.judging.hopeless(a_call(40)) is None


def test_where_somebody_was_called_any_number_may_be_refused(world: World) -> None:
    """A list may name agents that are gone in half of its rows."""
    world.judging.placed(a_call(0))
    for place in range(1, 100):
        assert isinstance(world.fail(NotFound("no", status=404), place), Close)


FORBIDDEN = RequestRefused("no", status=403, error_type="forbidden")


def test_a_refusal_that_only_one_row_meets_ends_that_row(world: World) -> None:
    """The vendor may refuse a number with a status that it does not document; all others are called."""
    waited = timedelta()
    while isinstance(verdict := world.fail(FORBIDDEN), Wait):
        assert verdict.error is FORBIDDEN, "all of them slow down"
        waited += verdict.due - world.now
        world.now = verdict.due  # nobody else is left to be answered
        world.judging.knows_as_placed(a_call(2).agent_id)
    assert verdict == Close("refused", "403 forbidden", Attempt(1, "refused", in_try=1))
    assert timedelta(minutes=3) < waited < timedelta(minutes=10)


def test_a_refusal_that_all_rows_meet_ends_the_list_and_closes_nobody(world: World) -> None:
    """Who was not called is called by a further try."""
    world.judging.placed(a_call(0))
    for place in range(46):
        assert isinstance(world.fail(FORBIDDEN, place), Wait)
        world.now += timedelta(seconds=20)
    with pytest.raises(RequestRefused):
        world.fail(FORBIDDEN, 46)


def test_a_refusal_that_was_there_from_the_start_is_believed_sooner(world: World) -> None:
    """Where nobody was called yet, it is most likely the base URL of the connection."""
    assert isinstance(world.fail(FORBIDDEN), Wait)
    world.now += timedelta(seconds=121)
    with pytest.raises(RequestRefused):
        world.fail(FORBIDDEN)


def test_a_refused_call_that_may_have_been_placed_is_waited_for_in_the_end(world: World) -> None:
    """It may have been the look for it that was refused."""
    doubt = Placement(Result.UNCONFIRMED, None, NOW)
    for _ in range(7):
        assert isinstance(world.fail(FORBIDDEN, doubt=doubt), Wait)
        world.answers += 1
        world.judging.knows_as_placed(a_call().agent_id)
    assert world.fail(FORBIDDEN, doubt=doubt) == Follow(doubt)


def test_a_key_that_is_refused_is_believed_at_the_third_time(world: World) -> None:
    """It may have been changed a moment ago; all wait, and the list fails if it stays so."""
    for place in (1, 2):
        verdict = world.fail(AuthenticationFailed("401", status=401), place)
        assert isinstance(verdict, Wait)
        assert isinstance(verdict.error, AuthenticationFailed), "all of them wait, with another key"
        world.now += timedelta(seconds=1)
    with pytest.raises(AuthenticationFailed):
        world.fail(AuthenticationFailed("401", status=401), 3)


def test_refusals_of_requests_that_were_under_way_together_are_one(world: World) -> None:
    """Sixteen of them left with the old key before anybody could read the new one."""
    for place in range(16):
        verdict = world.fail(AuthenticationFailed("401"), place, sent_at=NOW - HOUR)
        assert isinstance(verdict, Wait)
    world.now += timedelta(seconds=1)
    assert isinstance(world.fail(AuthenticationFailed("401"), 1), Wait)
    world.now += timedelta(seconds=1)
    with pytest.raises(AuthenticationFailed):
        world.fail(AuthenticationFailed("401"), 2)


def test_a_key_that_is_accepted_in_between_was_changed(world: World) -> None:
    """Its refusals are forgotten."""
    for round_ in range(5):
        for _ in range(2):
            world.now += timedelta(seconds=1)
            world.fail(AuthenticationFailed("401", status=401), round_)
        world.judging.placed(a_call(round_))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServerError("503", status=503),
        lambda: Unreachable("no connection"),
        lambda: ResponseLost("no answer", maybe_placed=True),
        lambda: BadResponse("no JSON", maybe_placed=True),
        lambda: RateLimited("429", status=429, retry_after_s=5),
        lambda: StoreUnavailable("the store is away"),
        lambda: SendAborted("stopped"),
    ],
)
def test_an_error_that_may_pass_lets_the_row_wait_and_everybody_slow_down(
    world: World, make: Callable[[], FormantError]
) -> None:
    """Nothing is over after one error."""
    error = make()
    assert world.fail(error, attempt=2) == Wait(NOW + timedelta(seconds=1), 2, error=error)


def test_an_outage_is_no_call_s_fault_however_long_it_lasts(world: World) -> None:
    """Tries count only while others are answered."""
    for _ in range(200):
        assert isinstance(world.fail(Unreachable("no connection")), Wait)


def test_a_call_that_alone_fails_is_given_up(world: World) -> None:
    """While others are answered it is sent for about an hour, ever later; then it is refused in this try."""
    waits = []
    for _ in range(19):
        world.answers += 1
        verdict = world.fail(ServerError("500", status=500))
        assert isinstance(verdict, Wait)
        waits.append((verdict.due - NOW).total_seconds())
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, *[300] * 10]
    world.answers += 1
    assert world.fail(ServerError("500", status=500)) == Close(
        "refused", "500", Attempt(1, "refused", in_try=1)
    )


def test_a_call_that_alone_fails_and_may_have_been_placed_is_waited_for(world: World) -> None:
    """In doubt it is not sent once more, nor given up: its conversation tells."""
    doubt = Placement(Result.UNCONFIRMED, None, datetime(2026, 3, 18, tzinfo=UTC))
    for _ in range(20):
        world.answers += 1
        error = ResponseLost("no answer", maybe_placed=True)
        verdict = world.judging.not_placed(a_call(), Came(listed_of(a_call()), error=error, doubt=doubt))
        if not isinstance(verdict, Wait):
            break
    assert verdict == Follow(doubt)


def test_a_call_that_was_placed_begins_anew(world: World) -> None:
    """Errors of an earlier attempt do not count against the next one."""
    for _ in range(4):
        world.answers += 1
        world.fail(ServerError("500"))
    world.judging.placed(a_call())
    world.answers += 1
    assert isinstance(world.fail(ServerError("500")), Wait)


def test_the_errors_of_one_row_do_not_count_against_another(world: World) -> None:
    """Each is given up by its own."""
    for place in range(30):
        world.answers += 1
        assert isinstance(world.fail(ServerError("500"), place), Wait)


def test_a_limit_of_one_number_does_not_hold_up_others(world: World) -> None:
    """To others the API would still answer: nobody else slows down."""
    quota = Quota(7, 30.0, 50)
    verdict = world.fail(RateLimited("429", status=429, retry_after_s=90), quota=quota)
    assert verdict == Wait(NOW + timedelta(seconds=90), 1)


def test_a_limit_of_one_number_without_a_time_is_asked_again_ever_later(world: World) -> None:
    """A minute, two, three, and so on: in the end it is refused."""
    quota, waits = Quota(7, 30.0, 50), []
    while isinstance(verdict := world.fail(RateLimited("429", status=429), quota=quota), Wait):
        world.answers += 1
        assert verdict.error is None
        waits.append((verdict.due - NOW).total_seconds())
    assert waits == [60 * tries for tries in range(1, 20)]
    assert isinstance(verdict, Close)
    assert verdict.reason == "refused"


def test_a_limit_of_the_account_gives_up_nobody(world: World) -> None:
    """However often a call meets it: it is no fault of its own."""
    for _ in range(50):
        world.answers += 1
        verdict = world.fail(RateLimited("429", status=429), quota=Quota(0, 5.0, 50))
        assert isinstance(verdict, Wait)


def test_a_limit_of_the_account_is_everybody_s(world: World) -> None:
    """Where nothing is left for anybody, all wait."""
    error = RateLimited("429", status=429, retry_after_s=5)
    verdict = world.fail(error, quota=Quota(0, 5.0, 50))
    assert isinstance(verdict, Wait)
    assert verdict.error is error


def test_busy_lines_are_waited_for_however_long(world: World) -> None:
    """They are nobody's fault, and no try of a row."""
    for _ in range(50):
        world.answers += 1
        error = ConcurrencyLimited("429", status=429)
        assert world.fail(error) == Wait(NOW, 1, error=error)


def test_a_call_whose_turn_has_not_come_waits_for_it(world: World) -> None:
    """The pace that is shared over a call store, however often."""
    for _ in range(50):
        world.answers += 1
        error = PaceExceeded("not yet", retry_after_s=12.5)
        assert world.fail(error) == Wait(NOW + timedelta(seconds=12.5), 1, error=error)


def test_whoever_was_reached_by_others_meanwhile_is_not_called(world: World) -> None:
    """The look before a further attempt tells."""
    assert world.fail(None, reason=REACHED, attempt=2) == Close("reached_meanwhile")


def test_whoever_may_be_talking_right_now_is_looked_at_every_five_minutes(world: World) -> None:
    """For three hours; then nobody calls again."""
    waits = waits_until_given_up(world, TALKING)
    assert waits == [300] * 36


def test_an_attempt_that_is_not_listed_yet_is_looked_for_soon(world: World) -> None:
    """Records appear some seconds late; without one, nobody calls again."""
    waits = waits_until_given_up(world, None)
    assert waits == [6, 6, 6, 60, 60, 300]


def waits_until_given_up(world: World, reason: str | None) -> list[float]:
    waits = []
    while isinstance(verdict := world.fail(None, reason=reason, attempt=2), Wait):
        assert verdict.attempt == 2
        assert verdict.error is None
        waits.append((verdict.due - world.now).total_seconds())
        world.now = verdict.due
    assert verdict == Close("not_called_again")
    return waits

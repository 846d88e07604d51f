from __future__ import annotations

import contextlib
import socket
import threading
import time
from datetime import timedelta

import pytest

from formant_provider.sandbox import Sandbox

COMPLETED, NO_ANSWER, BUSY = "+14155550100", "+14155550101", "+14155550102"
BUSY_LASTS = 5


def after(sandbox, seconds):
    sandbox.advance(seconds)
    sandbox.deliver_webhooks()


def attempts(sandbox):
    """Each attempt to deliver: its number, its seconds after the end of the busy call, the status."""
    ended = min(each.at for each in sandbox.deliveries)
    return [(each.attempt, (each.at - ended).total_seconds(), each.status) for each in sandbox.deliveries]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "formant-sandbox-webhooks"]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("answer", [500, 503, 429, None])
def test_a_failure_that_may_pass_is_repeated_twice(watched, receiver, answer):
    """After 30 s and 300 s of the sandbox's clock, the same event, and then nothing more."""
    receiver.answers += [answer] * 3
    sandbox = watched()
    call = sandbox.place(BUSY)
    seen = []
    for seconds in (4, 1, 29, 1, 269, 1, 10**6):
        after(sandbox, seconds)
        seen.append(len(receiver.seen))
    assert seen == [0, 1, 1, 2, 2, 3, 3]
    assert attempts(sandbox) == [(1, 0, answer), (2, 30, answer), (3, 300, answer)]
    assert {each.conversation_id for each in sandbox.deliveries} == {call.conversation_id}
    assert len({each.content for each in receiver.seen}) == 1
    assert len({each.headers["X-FormantAI-Event-Id"] for each in receiver.seen}) == 1
    stamps = [int(each.headers["X-FormantAI-Timestamp"]) for each in receiver.seen]
    assert [stamp - stamps[0] for stamp in stamps] == [0, 30, 300]


@pytest.mark.parametrize("answer", [200, 201, 204, 302, 400, 401, 404, 410, 413])
def test_any_other_answer_ends_the_delivery(watched, receiver, answer):
    """A 2xx is a success, and the other 4xx are final."""
    receiver.answers.append(answer)
    sandbox = watched()
    sandbox.place(BUSY)
    after(sandbox, 10**6)
    assert attempts(sandbox) == [(1, 0, answer)]
    assert len(receiver.seen) == 1


def test_a_repeat_ends_with_the_first_success(watched, receiver):
    """The second attempt arrives, and there is no third."""
    receiver.answers.append(503)
    sandbox = watched()
    sandbox.place(BUSY)
    after(sandbox, 10**6)
    assert attempts(sandbox) == [(1, 0, 503), (2, 30, 200)]


def test_a_receiver_that_is_not_there_is_a_network_error(start):
    """Nobody listens: three attempts without a status."""
    sandbox = start().sandbox
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    sandbox.add_webhook(url)
    sandbox.place(BUSY)
    after(sandbox, 10**6)
    assert attempts(sandbox) == [(1, 0, None), (2, 30, None), (3, 300, None)]


def test_a_receiver_that_takes_too_long_is_asked_again(watched, receiver):
    """A 2xx after the time for it does not count."""
    answered = threading.Event()
    receiver.answers.append(answered)
    sandbox = watched(webhook_timeout_seconds=0.1)
    sandbox.place(BUSY)
    after(sandbox, 40)
    answered.set()
    assert attempts(sandbox) == [(1, 0, None), (2, 30, 200)]
    assert Sandbox().webhook_timeout_seconds == 10


def test_a_response_that_trickles_in_too_slowly_is_none(start):
    """The time is for the whole response, however often something of it comes."""

    def trickle(listener):
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(10_000)
            for line in ("HTTP/1.1 200 OK", "A: 1", "B: 2", "C: 3", "D: 4", ""):
                connection.sendall(f"{line}\r\n".encode())
                time.sleep(0.06)

    sandbox = start(webhook_timeout_seconds=0.15).sandbox
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, args=(listener,), daemon=True).start()
        sandbox.add_webhook(f"http://127.0.0.1:{listener.getsockname()[1]}")
        sandbox.place(BUSY)
        after(sandbox, BUSY_LASTS)
    assert attempts(sandbox) == [(1, 0, None)]


def test_repeats_and_new_events_are_sent_in_the_order_of_time(watched, receiver):
    """However far the clock is moved at once."""
    receiver.answers += [500, 200]
    sandbox = watched()
    sandbox.place(BUSY)
    sandbox.place(NO_ANSWER)
    sandbox.place(COMPLETED)
    after(sandbox, 10**6)
    assert receiver.phones == [BUSY, NO_ANSWER, BUSY, COMPLETED]


def test_several_connections_do_not_wait_for_each_other(watched, receiver):
    """One attempt is still without a response when the others have theirs, unless there is one connection."""
    answered = threading.Event()
    receiver.answers.append(answered)
    sandbox = watched(webhook_connections=2)
    for _ in range(5):
        sandbox.place(BUSY)
    sandbox.advance(BUSY_LASTS)
    wait_for(lambda: len(sandbox.deliveries) == 4)
    answered.set()
    sandbox.deliver_webhooks()
    assert len({each.event["event_id"] for each in receiver.seen}) == 5


def test_in_real_time_events_are_sent_by_themselves(watched, receiver):
    """Nobody moves the clock or waits: an event comes once its call ends, and not before."""
    sandbox = watched(speed=1, call_speed=50)
    call = sandbox.place(BUSY)
    wait_for(lambda: receiver.seen)
    late = sandbox.now() - call.ends_at
    assert timedelta() <= late < timedelta(seconds=5)


def test_a_fast_clock_repeats_in_its_own_time(watched, receiver):
    """At speed 1000 the 30 s are 30 ms."""
    receiver.answers.append(503)
    sandbox = watched(speed=1000)
    sandbox.place(BUSY)
    wait_for(lambda: len(receiver.seen) == 2)


def test_a_clock_that_requests_move_sends_too(start, receiver):
    """With ``seconds_per_request`` an event comes after the request that ends its call."""
    api = start(seconds_per_request=3)
    api.sandbox.add_webhook(receiver.url)
    api.call(BUSY)
    api.sandbox.deliver_webhooks()
    assert receiver.seen == []
    api.conversations()
    api.sandbox.deliver_webhooks()
    assert receiver.phones == [BUSY]


def test_a_receiver_that_hangs_holds_up_neither_the_api_nor_the_end(start, receiver):
    """Requests are answered meanwhile, and stopping takes no time and leaves no thread."""
    hanging = threading.Event()
    receiver.answers.append(hanging)
    api = start()
    api.sandbox.add_webhook(receiver.url)
    api.call(BUSY)
    api.sandbox.advance(BUSY_LASTS)
    wait_for(lambda: receiver.seen)
    with pytest.raises(TimeoutError, match="still due"):
        api.sandbox.deliver_webhooks(timeout=0.01)
    assert api.call(NO_ANSWER).ok
    began = time.monotonic()
    api.sandbox.stop()
    assert time.monotonic() - began < 5
    assert threads() == []
    hanging.set()
    assert attempts(api.sandbox) == [(1, 0, None)]


def test_a_stopped_sandbox_sends_nothing_until_it_runs_again(watched, receiver):
    """What came due in between is sent after the start."""
    sandbox = watched()
    sandbox.place(BUSY)
    sandbox.stop()
    sandbox.advance(10)
    with pytest.raises(RuntimeError, match="runs"):
        sandbox.deliver_webhooks()
    assert receiver.seen == []
    sandbox.start()
    sandbox.deliver_webhooks()
    assert receiver.phones == [BUSY]


def test_a_target_can_be_added_before_the_start(receiver):
    """A sandbox knows its targets whether it runs or not."""
    sandbox = Sandbox(speed=0)
    sandbox.add_webhook(receiver.url)
    sandbox.place(BUSY)
    sandbox.advance(10)
    assert threads() == []
    with sandbox:
        sandbox.deliver_webhooks()
    assert receiver.phones == [BUSY]


@pytest.mark.parametrize(("command", "noted"), [("reset", 0), ("clear_webhooks", 1)])
def test_what_is_forgotten_on_its_way_is_not_repeated(watched, receiver, command, noted):
    """The failure of an attempt from before has no effect. A reset forgets that it was made, too."""
    answered = threading.Event()
    receiver.answers.append(answered)
    sandbox = watched(webhook_timeout_seconds=0.1)
    sandbox.place(BUSY)
    sandbox.advance(BUSY_LASTS)
    wait_for(lambda: receiver.seen)
    getattr(sandbox, command)()
    time.sleep(0.2)
    after(sandbox, 10**6)
    answered.set()
    assert (len(receiver.seen), len(sandbox.deliveries)) == (1, noted)


def test_a_removed_target_leaves_no_thread(watched):
    """Its thread ends with it."""
    sandbox = watched()
    wait_for(lambda: len(threads()) == 1)
    sandbox.clear_webhooks()
    wait_for(lambda: threads() == [])


def test_the_log_has_neither_bodies_nor_secrets_nor_numbers(watched):
    """What was sent is told by ids, type, time and status."""
    sandbox = watched()
    sandbox.place(BUSY, parameters={"name": "Asha"})
    after(sandbox, 10)
    (sent,) = sandbox.deliveries
    assert (sent.event_type, sent.agent_id, sent.status, sent.fault) == ("call.busy", 456, 200, None)
    assert not any(private in repr(sent) for private in (BUSY, "Asha", "s3cret"))

from __future__ import annotations

import json
import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from formant_provider import __version__
from formant_provider.api.client import CREATE_CALL
from formant_provider.api.errors import (
    AuthenticationFailed,
    BadResponse,
    ConcurrencyLimited,
    DuplicateRequest,
    FormantError,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestRefused,
    ResponseLost,
    ServerError,
    Unreachable,
)
from formant_provider.api.models import CallRequest
from formant_provider.sandbox import Fault, Sandbox
from support.scripted_server import Answer, ScriptedServer, Seen

KEY = "key-1234567"
NUMBER = "+14155552671"
CALL = CallRequest(
    agent_id=456,
    parameters=(("customer_phone", NUMBER), ("customer_name", "Rahul Sharma")),
    idempotency_key="0f3c8b5e-8f52-5d0e-9a3c-1d2e3f4a5b6c",
)
OK = Answer(body={"data": {"trace_id": "t-1", "status": "initiated", "agent_id": 456}})


def failure(action: Callable[[], object]) -> FormantError:
    with pytest.raises(FormantError) as caught:
        action()
    return caught.value


def test_every_field_that_is_set_goes_out_under_the_vendor_s_name(client_for: Any) -> None:
    """Optional fields are sent when they are set, and the sandbox, which is strict, takes them."""
    call = replace(CALL, metadata="m", retry_context={"retry_language": "en-US"})
    with Sandbox(api_key=KEY, receipt_conversation_id="always") as sandbox:
        client = client_for(sandbox.base_url)
        first = client.create_call(replace(CALL, idempotency_key="first"))
        client.create_call(replace(call, conversation_id=first.conversation_id))
        seen = sandbox.requests[-1]
    assert seen.body == {
        "agent_id": 456,
        "parameters": [
            {"name": "customer_phone", "value": NUMBER},
            {"name": "customer_name", "value": "Rahul Sharma"},
        ],
        "conversation_id": first.conversation_id,
        "metadata": "m",
        "retry_context": {"retry_language": "en-US"},
        "idempotency_key": CALL.idempotency_key,
    }


def test_requests_carry_the_key_and_say_who_asks(client_for: Any) -> None:
    """Bearer key, JSON, and a User-Agent with the provider's version."""
    with ScriptedServer(OK) as server:
        client_for(server.base_url).create_call(CALL)
    headers = server.seen[0].headers
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == f"airflow-provider-formant/{__version__} x/1"


REFUSALS = [
    (400, "invalid_request", InvalidRequest),
    (401, "authentication_error", AuthenticationFailed),
    (403, "forbidden", RequestRefused),
    (404, "not_found", NotFound),
    (409, "duplicate_request", DuplicateRequest),
    (422, None, RequestRefused),
]


@pytest.mark.parametrize(("status", "error_type", "expected"), REFUSALS, ids=str)
def test_a_refusal_is_final_and_says_what_the_vendor_said(
    status: int, error_type: str | None, expected: type, client_for: Any
) -> None:
    """4xx is sent once, and comes back typed with the vendor's message and type."""
    error = {"error": {"message": "the vendor's words", "type": error_type}}
    with ScriptedServer(Answer(status, error)) as server:
        caught = failure(lambda: client_for(server.base_url).create_call(CALL))
    assert type(caught) is expected
    assert (caught.status, caught.error_type, caught.operation) == (status, error_type, CREATE_CALL)
    assert "the vendor's words" in str(caught)
    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [b"<html>", b"", {"error": "text"}, {"error": {"message": 7}}, [], None])
def test_a_refusal_without_a_readable_body_is_still_a_refusal(body: Any, client_for: Any) -> None:
    """Neither field of an error body is required by the vendor's schema."""
    with ScriptedServer(Answer(401, body)) as server:
        assert type(failure(lambda: client_for(server.base_url).create_call(CALL))) is AuthenticationFailed


PASSING_FAULTS = [
    (Fault.ERROR_500_BEFORE, ServerError),
    (Fault.ERROR_503_BEFORE, ServerError),
    (Fault.DROP_BEFORE, ResponseLost),
    (Fault.RATE_LIMIT, RateLimited),
    (Fault.RATE_LIMIT_RESET_ONLY, RateLimited),
    (Fault.RATE_LIMIT_NO_HEADERS, RateLimited),
    (Fault.CONCURRENCY_LIMIT, ConcurrencyLimited),
]


@pytest.mark.parametrize(("fault", "_error"), PASSING_FAULTS)
def test_what_passes_is_sent_again_with_the_same_key(
    fault: Fault, _error: type, sandbox: Sandbox, client_for: Any, sleeps: list[float]
) -> None:
    """429, 5xx and lost connections are repeated in process, with one key, until the call is placed once."""
    sandbox.inject(CREATE_CALL, fault, times=2)
    assert client_for(sandbox.base_url).create_call(CALL).trace_id
    assert sandbox.rings == {NUMBER: 1}
    assert len(sandbox.requests) == 3
    assert {seen.body["idempotency_key"] for seen in sandbox.requests if seen.body} == {CALL.idempotency_key}
    assert len(sleeps) == 2


@pytest.mark.parametrize(("fault", "expected"), PASSING_FAULTS)
def test_what_does_not_pass_is_given_up_after_four_sends(
    fault: Fault, expected: type, sandbox: Sandbox, client_for: Any, sleeps: list[float]
) -> None:
    """Repeats are bounded, and the error says whether a call may have been placed."""
    sandbox.inject(CREATE_CALL, fault, times=9)
    caught = failure(lambda: client_for(sandbox.base_url).create_call(CALL))
    assert type(caught) is expected
    assert caught.maybe_placed is (expected in {ServerError, ResponseLost})
    assert len(sandbox.requests) == 4
    assert sum(sleeps) < 60
    assert sandbox.rings == {}


@pytest.mark.parametrize(
    "fault", [Fault.ERROR_500_AFTER, Fault.ERROR_503_AFTER, Fault.DROP_AFTER, Fault.GARBAGE, Fault.HANG_AFTER]
)
def test_an_answer_lost_after_accepting_never_rings_twice(
    fault: Fault, sandbox: Sandbox, client_for: Any
) -> None:
    """The repeat has the same key; the vendor refuses it, and the error tells a call may have been placed."""
    sandbox.inject(CREATE_CALL, fault)
    caught = failure(lambda: client_for(sandbox.base_url, read_timeout_s=0.3).create_call(CALL))
    assert isinstance(caught, DuplicateRequest)
    assert caught.maybe_placed
    assert sandbox.rings == {NUMBER: 1}
    assert len(sandbox.requests) == 2


def test_the_server_s_retry_after_is_waited_for(
    sandbox: Sandbox, client_for: Any, sleeps: list[float]
) -> None:
    """A Retry-After of 7 s is a wait of 7 s and a little."""
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, retry_after=7)
    client_for(sandbox.base_url).create_call(CALL)
    assert 7 <= sleeps[0] < 8


def test_a_retry_after_longer_than_a_worker_waits_is_handed_up(
    sandbox: Sandbox, client_for: Any, sleeps: list[float]
) -> None:
    """The error carries the wait the server asked for, and nothing is slept."""
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, retry_after=600)
    caught = failure(lambda: client_for(sandbox.base_url).create_call(CALL))
    assert isinstance(caught, RateLimited)
    assert caught.retry_after_s == 600
    assert sleeps == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "https://no-such-host.invalid"])
def test_no_connection_means_nothing_was_sent(url: str, client_for: Any) -> None:
    """A refused connection and an unknown name are told apart from a lost answer: no call was placed."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = url.format(port=unused.getsockname()[1])
    caught = failure(lambda: client_for(url).create_call(CALL))
    assert isinstance(caught, Unreachable)
    assert not caught.maybe_placed


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"not json"),
        Answer(200, b""),
        Answer(200, b"\xff\xfe\x00"),
        Answer(200, {}),
        Answer(200, {"data": None}),
        Answer(200, {"data": [1]}),
        Answer(200, ["data"]),
        Answer(204, b""),
    ],
    ids=lambda answer: repr(answer.body),
)
def test_an_unreadable_success_is_in_doubt(answer: Answer, client_for: Any) -> None:
    """A 2xx that cannot be read is repeated with the same key, and then reported as maybe placed."""
    with ScriptedServer(answer) as server:
        caught = failure(lambda: client_for(server.base_url).create_call(CALL))
    assert isinstance(caught, BadResponse)
    assert caught.maybe_placed
    assert len({seen.body["idempotency_key"] for seen in server.seen}) == 1


def test_an_answer_cut_short_is_a_lost_answer(client_for: Any) -> None:
    """A connection that ends inside the body leaves the outcome open."""
    with ScriptedServer(replace(OK, cut_at=10)) as server:
        caught = failure(lambda: client_for(server.base_url).create_call(CALL))
    assert isinstance(caught, ResponseLost)
    assert caught.maybe_placed


def test_a_receipt_with_missing_fields_is_still_a_receipt(client_for: Any) -> None:
    """The vendor's schema requires no field of a receipt; an accepted call is never reported as failed."""
    with ScriptedServer(Answer(200, {"data": {"status": "queued", "new_field": 1}})) as server:
        receipt = client_for(server.base_url).create_call(CALL)
    assert (receipt.status, receipt.trace_id, receipt.conversation_id) == ("queued", None, None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int, client_for: Any) -> None:
    """Neither key nor number go anywhere but to the base URL."""
    with ScriptedServer(OK) as elsewhere:
        redirect = Answer(status, b"", {"Location": f"{elsewhere.base_url}/v1/call"})
        with ScriptedServer(redirect) as server:
            caught = failure(lambda: client_for(server.base_url).create_call(CALL))
    assert isinstance(caught, RequestRefused)
    assert elsewhere.seen == []
    assert len(server.seen) == 1


def test_no_proxy_or_netrc_of_the_environment_sees_a_loopback_request(
    client_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of a plain http request stays on this machine whatever the environment says."""
    with ScriptedServer(OK) as proxy, ScriptedServer(OK) as server:
        monkeypatch.setenv("http_proxy", proxy.base_url)
        monkeypatch.delenv("no_proxy", raising=False)
        client_for(server.base_url).create_call(CALL)
    assert proxy.seen == []
    assert len(server.seen) == 1


def careless(request: Seen) -> Answer:
    """Repeat the whole request in the error, headers and all."""
    message = f"cannot {request.raw_body.decode()} {NUMBER[1:]} {dict(request.headers)}"
    return Answer(400, {"error": {"message": message, "type": f"invalid {NUMBER}"}})


def faults_and_causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is not None and current not in seen:
            seen.append(current)
            pending += [current.__cause__, current.__context__]
            yield current


@pytest.mark.parametrize(
    "answer",
    [careless, Answer(500, b"oops"), Answer(200, b"oops"), replace(OK, cut_at=3), Answer(429, {})],
    ids=["400", "500", "200", "cut", "429"],
)
def test_neither_key_nor_private_values_are_in_an_error_or_a_log(
    answer: Any, client_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong, text, fields, causes and logs hold no key, no number and no parameter value."""
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(answer) as server:
        caught = failure(lambda: client_for(server.base_url).create_call(CALL))
    texts = [caplog.text, "".join(traceback.format_exception(caught))]
    for error in faults_and_causes(caught):
        texts += [str(error), repr(error), repr(vars(error))]
        assert isinstance(error, FormantError), "an exception of another library holds the request"
    for private in (KEY, NUMBER[1:], "Rahul"):
        assert all(private not in text for text in texts)


def test_a_request_shows_no_private_value_in_its_repr() -> None:
    """A request that ends up in a log or a debugger's frame shows ids alone."""
    call = replace(CALL, metadata="m-private", retry_context={"collected_data": {"owes": "a lot"}})
    for private in (NUMBER, "Rahul", "m-private", "a lot"):
        assert private not in repr(call)


def test_conversations_are_listed_and_read(sandbox: Sandbox, client_for: Any) -> None:
    """A placed call is found in the list once it is over, and read in detail by its id."""
    client = client_for(sandbox.base_url)
    receipt = client.create_call(CALL)
    assert client.list_conversations(456).items == ()
    sandbox.advance(3600)
    page = client.list_conversations(456, limit=5)
    (listed,) = page.items
    assert (page.has_more, page.total) == (False, 1)
    assert (listed.agent_id, listed.contact_number, listed.status) == (456, NUMBER, "completed")
    detail = client.get_conversation(listed.conversation_id)
    assert detail.trace_id == receipt.trace_id
    assert detail.transcript
    assert client.list_conversations(789).items == ()
    assert client.list_conversations(offset=1).items == ()
    assert NUMBER not in repr(detail)


def test_an_unknown_conversation_is_not_found(sandbox: Sandbox, client_for: Any) -> None:
    """404 is an answer, not something to repeat."""
    assert isinstance(failure(lambda: client_for(sandbox.base_url).get_conversation("nobody")), NotFound)
    assert len(sandbox.requests) == 1


def test_an_id_cannot_break_out_of_its_path(client_for: Any) -> None:
    """Whatever an upstream task hands over as an id, only a conversation is asked for."""
    with ScriptedServer(Answer(404)) as server:
        failure(lambda: client_for(server.base_url).get_conversation("../call?x=1#y"))
    assert server.seen[0].path == "/v1/conversations/..%2Fcall%3Fx%3D1%23y"


def test_records_without_an_id_are_passed_over(client_for: Any) -> None:
    """A list with odd entries is read as far as it can be."""
    rows = [7, {}, {"conversation_id": None}, {"conversation_id": "c-1", "status": "surprise"}]
    with ScriptedServer(Answer(200, {"data": rows})) as server:
        page = client_for(server.base_url).list_conversations()
    assert [item.conversation_id for item in page.items] == ["c-1"]
    assert (page.has_more, page.total) == (False, None)


def test_a_detail_without_an_id_is_a_bad_response(client_for: Any) -> None:
    """A record that cannot be named is not passed on."""
    with ScriptedServer(Answer(200, {"data": {"status": "completed"}})) as server:
        assert isinstance(failure(lambda: client_for(server.base_url).get_conversation("c-1")), BadResponse)


def test_reads_are_repeated_too_and_never_said_to_have_rung(sandbox: Sandbox, client_for: Any) -> None:
    """A GET that failed four times called nobody."""
    sandbox.inject("GET /v1/conversations", Fault.ERROR_500_BEFORE, times=4)
    error = failure(lambda: client_for(sandbox.base_url).list_conversations())
    assert isinstance(error, ServerError)
    assert not error.maybe_placed
    assert len(sandbox.requests) == 4


def test_the_body_is_json_as_the_vendor_reads_it(client_for: Any) -> None:
    """Names in any script arrive as they were written."""
    call = replace(CALL, parameters=(("customer_phone", NUMBER), ("customer_name", "राहुल")))
    with ScriptedServer(OK) as server:
        client_for(server.base_url).create_call(call)
    assert json.loads(server.seen[0].raw_body)["parameters"][1]["value"] == "राहुल"

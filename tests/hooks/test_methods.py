"""The methods of the hook: each is one request of the API, and what protects a call is its key alone."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.errors import (
    DuplicateRequest,
    FormantError,
    InvalidInput,
    NotAdmitted,
    NotFound,
    ResponseLost,
    SendAborted,
)
from formant_provider.hooks.formant import FormantHook
from formant_provider.hooks.methods.calls import RequestMethods
from formant_provider.hooks.methods.transcription import TranscriptionMethods
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH, BATCHES, CALL, LIST, RECORDING
from support.object_store import CONNECTION, ObjectStore, attached
from support.stores import connections_with, sqlite_store
from support.supervisor import FakeSupervisor, supervised_by

PHONE, NAME = "+14155550100", "Asha-the-private"
WHOM = {"customer_phone": PHONE, "customer_name": NAME}


def call(hook: FormantHook, key: str = "loan-7", **fields: Any) -> Any:
    return hook.create_call(agent_id=456, parameters=WHOM, idempotency_key=key, **fields)


def asked(sandbox: Sandbox, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in sandbox.requests)


def test_a_call_is_placed_with_the_key_that_was_given(sandbox: Sandbox, hook: FormantHook) -> None:
    """The key is sent as it is, and so are all other fields."""
    later = sandbox.now() + timedelta(days=1)
    receipt = call(hook, metadata="m", retry_context={"retry_language": "hi-IN"}, scheduled_for=later)
    assert (receipt.agent_id, receipt.status, receipt.scheduled_at) == (456, "scheduled", later)
    (seen,) = sandbox.requests
    assert seen.body["idempotency_key"] == "loan-7"
    assert (seen.body["metadata"], seen.body["retry_context"]) == ("m", {"retry_language": "hi-IN"})
    assert sandbox.rings == {PHONE: 1}


def test_nobody_on_the_do_not_call_list_of_the_store_is_called(sandbox: Sandbox) -> None:
    """The list is asked before the call is sent, and where it cannot be asked nothing is sent."""
    from formant_provider.store.suppressions import Decision, add, digests_of

    with sqlite_store() as database:
        connections = connections_with(database, sandbox, is_set_up=False)
        with supervised_by(FakeSupervisor(connections)):
            hook = FormantHook()
            store = hook.get_store()
            assert store is not None
            people = dict.fromkeys(digests_of(store, [14155550100]))
            add(store, people, Decision("asked by mail", "anna", datetime.now(UTC)))
            with pytest.raises(NotAdmitted, match="do-not-call list"):
                call(hook)
            other = {"customer_phone": "+14155550110"}
            hook.create_call(agent_id=456, parameters=other, idempotency_key="loan-8")
        connections["calls_db"] = {"conn_type": "sqlite", "host": "/nowhere/calls.db"}
        with supervised_by(FakeSupervisor(connections)), pytest.raises((SendAborted, InvalidInput)):
            FormantHook().create_call(agent_id=456, parameters=other, idempotency_key="loan-9")
    assert sandbox.rings == {"+14155550110": 1}


def test_a_call_without_a_key_cannot_be_asked_for(sandbox: Sandbox, hook: FormantHook) -> None:
    """The key has no default, and a blank one is refused by its name; nothing is sent."""
    with pytest.raises(TypeError, match="idempotency_key"):
        hook.create_call(agent_id=456, parameters=WHOM)  # type: ignore[call-arg] # that is the point
    for blank in (None, "", " "):
        with pytest.raises(InvalidInput) as caught:
            call(hook, blank)  # type: ignore[arg-type] # as above
        assert caught.value.field == "idempotency_key"
    assert (sandbox.rings, sandbox.requests) == ({}, [])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"agent_id": "x"}, "agent_id"),
        ({"parameters": {"customer_phone": "4155550100"}}, "parameters.customer_phone"),
        ({"parameters": {"customer_name": NAME}}, "parameters"),
        ({"scheduled_for": datetime(2001, 1, 1, tzinfo=UTC)}, "scheduled_for"),
        ({"retry_context": {"mood": "good"}}, "retry_context.mood"),
        ({"conversation_id": " "}, "conversation_id"),
        ({"agent_id": "9" * 5000}, "agent_id"),
        ({"idempotency_key": f"{NAME}\ud800"}, "idempotency_key"),
        ({"conversation_id": f"{NAME}\ud800"}, "conversation_id"),
        ({"metadata": f"{NAME}\ud800"}, "metadata"),
        ({"metadata": {"name": f"{NAME}\ud800"}}, "metadata"),
        ({"retry_context": {"retry_language": f"{NAME}\ud800"}}, "retry_context"),
        ({"parameters": {**WHOM, "name": f"{NAME}\ud800"}}, "parameters.name"),
        ({"parameters": {**WHOM, f"{NAME}\ud800": "a"}}, "parameters"),
        ({"parameters": {**WHOM, "amount": 10**5000}}, "parameters.amount"),
    ],
)
def test_an_invalid_field_is_named_before_anything_is_sent(
    fields: dict[str, Any], field: str, sandbox: Sandbox, hook: FormantHook
) -> None:
    """The error has the name of the field and not its value, and no phone rings."""
    valid: dict[str, Any] = {"agent_id": 456, "parameters": WHOM, "idempotency_key": "loan-7"}
    with pytest.raises(InvalidInput) as caught:
        hook.create_call(**{**valid, **fields})
    assert caught.value.field == field
    assert NAME not in str(caught.value)
    assert sandbox.requests == []


def test_a_second_call_with_the_key_is_refused(sandbox: Sandbox, hook: FormantHook) -> None:
    """Who runs twice with one key rings once, and learns it from the error."""
    call(hook)
    with pytest.raises(DuplicateRequest) as caught:
        call(hook)
    assert caught.value.earlier == ()
    call(hook, "loan-8")
    assert sandbox.rings == {PHONE: 2}


def test_a_lost_answer_places_no_second_call(sandbox: Sandbox, hook: FormantHook) -> None:
    """The same key is sent again and refused; the error says that the call may have been placed."""
    sandbox.inject(CALL, Fault.DROP_AFTER)
    with pytest.raises(DuplicateRequest) as caught:
        call(hook)
    assert caught.value.maybe_placed
    assert [type(error) for error in caught.value.earlier] == [ResponseLost]
    assert (asked(sandbox, CALL), sandbox.rings) == (2, {PHONE: 1})


def test_a_conversation_is_read(sandbox: Sandbox, hook: FormantHook) -> None:
    """Its record comes as the client's model; one that is not there is an error of its own."""
    placed = sandbox.place(PHONE)
    sandbox.advance(1000)
    record = hook.get_conversation(conversation_id=placed.conversation_id)
    assert (record.status, record.contact_number) == ("completed", PHONE)
    assert record.transcript
    with pytest.raises(NotFound):
        hook.get_conversation(conversation_id="nobody")


def test_conversations_are_read_page_by_page_as_they_are_needed(sandbox: Sandbox, hook: FormantHook) -> None:
    """The first hundred cost one request, and each record comes once although more come in meanwhile."""
    for number in range(250):
        sandbox.place(f"+141555{number:03}00")
    sandbox.advance(1000)
    records = hook.iter_conversations(agent_id=456)
    assert sandbox.requests == []
    first = [record.conversation_id for record in islice(records, 100)]
    assert asked(sandbox, LIST) == 1
    sandbox.place("+14155599900")  # which moves the others along
    sandbox.advance(1000)
    ids = first + [record.conversation_id for record in records]
    assert (len(ids), len(set(ids)), asked(sandbox, LIST)) == (250, 250, 3)
    assert list(hook.iter_conversations(agent_id=789)) == []


def test_a_page_of_conversations_says_whether_there_are_more(sandbox: Sandbox, hook: FormantHook) -> None:
    """A list is one request, for a caller that cannot iterate."""
    for _ in range(3):
        sandbox.place(PHONE)
    sandbox.advance(1000)
    page = hook.list_conversations(agent_id=456, limit=2)
    assert (len(page.items), page.has_more, page.total) == (2, True, 3)
    assert len(hook.list_conversations(limit=2, offset=2).items) == 1


def test_a_recording_is_written_to_a_file(sandbox: Sandbox, hook: FormantHook, tmp_path: Path) -> None:
    """A path and a URI both work, and what arrives is what was sent, also after a break."""
    placed = sandbox.place(PHONE)
    sandbox.advance(1000)
    sandbox.inject(RECORDING, Fault.TRUNCATED)
    for where in (f"{tmp_path}/a.wav", f"file://{tmp_path}/b.wav"):
        recording = hook.get_recording(conversation_id=placed.conversation_id, path=where)
        content = Path(where.removeprefix("file://")).read_bytes()
        assert content == b"".join(sandbox.recording(placed.conversation_id).chunks())
        assert (recording.size, recording.content_type) == (len(content), "audio/wav")


def test_a_recording_is_written_to_an_object_store(sandbox: Sandbox, hook: FormantHook) -> None:
    """By a URI with the connection of the storage; one that Airflow does not know is refused first."""
    placed, store = sandbox.place(PHONE), ObjectStore()
    sandbox.advance(1000)
    with attached(store):
        where = f"s3://{CONNECTION}@bucket/talk.wav"
        hook.get_recording(conversation_id=placed.conversation_id, path=where)
    (content,) = store.objects.values()
    assert content == b"".join(sandbox.recording(placed.conversation_id).chunks())
    with pytest.raises(InvalidInput) as caught:
        hook.get_recording(conversation_id=placed.conversation_id, path="nowhere://bucket/talk.wav")
    assert caught.value.field == "path"
    assert asked(sandbox, RECORDING) == 1


@pytest.mark.parametrize(
    "place", ["file://talk.wav", "local://talk.wav", "://talk.wav", "/", "{}", "{}/", "{}/\0"]
)
def test_a_recording_goes_to_no_folder_and_to_no_place_of_the_workers(
    place: str, sandbox: Sandbox, hook: FormantHook, tmp_path: Path
) -> None:
    """What is no absolute path of a file is refused by its name, before anything is asked for."""
    with pytest.raises(InvalidInput, match=r"^path: "):
        hook.get_recording(conversation_id="c-1", path=place.format(tmp_path))
    assert (sandbox.requests, list(tmp_path.iterdir())) == ([], [])


def test_a_recording_takes_no_place_of_a_device(sandbox: Sandbox, hook: FormantHook, tmp_path: Path) -> None:
    """A pipe, as ``/dev/null`` would be: renamed over, it would be gone for all who use this machine."""
    device = tmp_path / "pipe"
    os.mkfifo(device)
    with pytest.raises(InvalidInput, match=r"^path: .*a device"):
        hook.get_recording(conversation_id="c-1", path=str(device))
    assert device.is_fifo()
    assert sandbox.requests == []


def test_a_recording_that_is_not_there_leaves_the_file_as_it_was(
    sandbox: Sandbox, hook: FormantHook, tmp_path: Path
) -> None:
    """Nothing is opened for writing before all of it was received."""
    placed, file = sandbox.place(PHONE), tmp_path / "talk.wav"
    sandbox.advance(1000)
    file.write_text("an older one")
    with pytest.raises(NotFound):
        hook.get_recording(conversation_id="nobody", path=str(file))
    sandbox.inject(RECORDING, Fault.TRUNCATED, times=4)
    with pytest.raises(ResponseLost):
        hook.get_recording(conversation_id=placed.conversation_id, path=str(file))
    assert file.read_text() == "an older one"


def test_a_recording_whose_upload_breaks_leaves_the_object_as_it_was(
    sandbox: Sandbox, hook: FormantHook
) -> None:
    """Part of a recording is never taken for the whole."""
    placed, store = sandbox.place(PHONE), ObjectStore()
    sandbox.advance(1000)
    where = f"s3://{CONNECTION}@bucket/talk.wav"
    with attached(store):
        store.objects["bucket/talk.wav"] = b"an older one"
        store.breaks_at = 1
        with pytest.raises(OSError, match="was lost"):
            hook.get_recording(conversation_id=placed.conversation_id, path=where)
    assert (store.objects, store.pending) == ({"bucket/talk.wav": b"an older one"}, 0)


def test_a_long_recording_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four megabytes take less than eight of memory, with the server's share."""
    with Sandbox(speed=0, rate_limit=None, recording_bytes=64 * 2**20) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_FORMANT_DEFAULT", sandbox.connection_uri())
        placed, where = sandbox.place(PHONE), str(tmp_path / "talk.wav")
        sandbox.advance(1000)
        with supervised_by(FakeSupervisor()):
            hook = FormantHook()
            hook.get_config()
            peak = peak_of(lambda: hook.get_recording(conversation_id=placed.conversation_id, path=where))
    assert Path(where).stat().st_size == 64 * 2**20
    assert peak < 8 * 2**20


def peak_of(work: Any) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_batch_call_is_uploaded_and_followed(sandbox: Sandbox, hook: FormantHook, tmp_path: Path) -> None:
    """A file of a path is sent as it is; the batch call and its metrics can be read."""
    file = tmp_path / "people.csv"
    file.write_text(f"customer_phone,customer_name\n{PHONE},{NAME}\n")
    batch = hook.create_batch_call(agent_id=456, name="March", file=str(file))
    assert (batch.name, batch.total_recipients, sandbox.rings) == ("March", 1, {PHONE: 1})
    sandbox.advance(1000)
    assert hook.get_batch_call(batch_id=batch.batch_id) == batch
    assert hook.get_batch_metrics(batch_id=batch.batch_id).completed_count == 1


def test_an_upload_whose_answer_is_lost_is_not_repeated(
    sandbox: Sandbox, hook: FormantHook, tmp_path: Path
) -> None:
    """A batch call has no key, so there is one request, and the error says that people may be called."""
    file = tmp_path / "people.csv"
    file.write_text(f"customer_phone\n{PHONE}\n")
    sandbox.inject(BATCH, Fault.DROP_AFTER)
    with pytest.raises(ResponseLost) as caught:
        hook.create_batch_call(agent_id=456, name="March", file=str(file))
    assert caught.value.maybe_placed
    assert (asked(sandbox, BATCH), sandbox.rings) == (1, {PHONE: 1})


def test_batch_calls_are_read_page_by_page(sandbox: Sandbox, hook: FormantHook) -> None:
    """As conversations are."""
    for _ in range(101):
        sandbox.place_batch([PHONE], agent_id=456)
    batches = hook.iter_batch_calls(agent_id=456)
    first = next(batches)
    assert asked(sandbox, BATCHES) == 1
    assert len({first.batch_id, *(batch.batch_id for batch in batches)}) == 101


@pytest.mark.parametrize("value", [None, "", " ", True, 7.5])
def test_an_id_that_is_none_is_refused_by_the_name_of_its_field(
    hook: FormantHook, sandbox: Sandbox, tmp_path: Path, value: Any
) -> None:
    """What a value that is missing leaves is no id, no name and no path, and nothing is sent for it."""
    there = tmp_path / "contacts.csv"
    there.write_text("customer_phone\n+14155550100\n")
    batch: dict[str, Any] = {"agent_id": 456, "name": "loans", "file": str(there)}
    tries: list[tuple[str, Any, dict[str, Any]]] = [
        ("conversation_id", hook.get_conversation, {}),
        ("conversation_id", hook.get_recording, {"path": str(tmp_path / "a.wav")}),
        ("path", hook.get_recording, {"conversation_id": "c-1"}),
        ("batch_id", hook.get_batch_call, {}),
        ("batch_id", hook.get_batch_metrics, {}),
        ("name", hook.create_batch_call, batch),
        ("job_id", hook.get_transcription_job, {}),
    ]
    for field, method, others in tries:
        with pytest.raises(InvalidInput, match=rf"^{field}: "):
            method(**{**others, field: value})
    for path in ("None", "talk.wav"):
        with pytest.raises(InvalidInput, match=r"^path: (is blank|must be an absolute path)"):
            hook.get_recording(conversation_id="c-1", path=path)
    if not isinstance(value, str):
        with pytest.raises(InvalidInput, match=r"^file: "):
            hook.create_batch_call(**{**batch, "file": value})
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("limit", value) for value in (None, 0, 101, "ten", 2.5, [])],
        *[("offset", value) for value in (None, -1, "one", True, {})],
        *[("agent_id", value) for value in (0, "", "None", [], 1.5, "9" * 5000)],
    ],
)
def test_a_page_or_an_agent_that_is_none_is_refused_by_the_name_of_its_field(
    hook: FormantHook, sandbox: Sandbox, field: str, value: Any
) -> None:
    """An empty list is no agent, which would mean all of them; and nothing is sent for it."""
    methods: list[Any] = [hook.list_conversations]
    if field == "agent_id":
        methods += [hook.iter_conversations, hook.iter_batch_calls]
    for method in methods:
        with pytest.raises(InvalidInput, match=rf"^{field}: "):
            method(**{field: value})
    assert sandbox.requests == []


def test_an_id_with_half_of_a_character_is_refused_by_the_name_of_its_field(
    hook: FormantHook, sandbox: Sandbox
) -> None:
    """JSON can hold it, and no request can."""
    tries: list[tuple[str, Any]] = [
        ("conversation_id", hook.get_conversation),
        ("job_id", hook.get_transcription_job),
    ]
    for field, method in tries:
        with pytest.raises(InvalidInput, match=rf"^{field}: holds half of a character"):
            method(**{field: "c-1\ud800"})
    assert sandbox.requests == []


METHODS = [
    name
    for name in {**vars(RequestMethods), **vars(TranscriptionMethods)}
    if not name.startswith("_") and name not in {"get_conn", "get_store", "reread"}
]


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_is_given_by_name_and_explained(name: str) -> None:
    """By the vendor's names, each with a type and a sentence; what is returned is the client's model."""
    method = getattr(FormantHook, name)
    parameters = [each for each in inspect.signature(method).parameters.values() if each.name != "self"]
    assert parameters
    for parameter in parameters:
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.annotation is not parameter.empty
        assert f":param {parameter.name}:" in method.__doc__


def test_results_can_be_written_as_json(sandbox: Sandbox, hook: FormantHook) -> None:
    """Every model is a dataclass of plain values."""
    placed = sandbox.place(PHONE)
    sandbox.advance(1000)
    batch = sandbox.place_batch([PHONE], agent_id=456)
    for result in (
        call(hook),
        hook.get_conversation(conversation_id=placed.conversation_id),
        hook.list_conversations(limit=1),
        hook.get_batch_call(batch_id=batch.batch_id),
        hook.get_batch_metrics(batch_id=batch.batch_id),
    ):
        assert json.loads(json.dumps(dataclasses.asdict(result)))


def test_errors_are_those_of_the_client(hook: FormantHook, sandbox: Sandbox) -> None:
    """Whoever catches FormantError catches all of them, and none has the key or a number."""
    sandbox.inject(CALL, Fault.ERROR_500_BEFORE, times=4)
    with pytest.raises(FormantError) as caught:
        call(hook)
    assert caught.value.maybe_placed
    assert PHONE.lstrip("+") not in str(caught.value)

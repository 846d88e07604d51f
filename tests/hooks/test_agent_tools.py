"""The hook's methods as tools of an agent, through common-ai's HookToolset and a model that does as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor, supervised_by

pytest.importorskip(
    "airflow.providers.common.ai", reason="apache-airflow-providers-common-ai is not installed"
)

from airflow.providers.common.ai.toolsets.hook import HookToolset
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

PHONE = "+14155550100"
WHOM = {"customer_phone": PHONE, "customer_name": "Asha"}
CALL = {"parameters": WHOM, "idempotency_key": "loan-7"}
TOOLS = [
    *("create_call", "get_conversation", "list_conversations", "get_recording"),
    *("get_batch_call", "get_batch_metrics", "transcribe", "get_transcription_job"),
]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=0, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def hook(sandbox: Sandbox) -> Iterator[FormantHook]:
    with supervised_by(FakeSupervisor({"formant_default": sandbox.connection_uri()})):
        yield FormantHook()


def a_model(name: str, arguments: dict[str, Any]) -> FunctionModel:
    """A model that calls one tool, and says what it returned."""

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        returned = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if returned:
            return ModelResponse([TextPart(str(returned[0].content))])
        return ModelResponse([ToolCallPart(name, arguments)])

    return FunctionModel(answer)


def answer_of(toolset: Any, name: str, arguments: dict[str, Any]) -> Any:
    """What an agent with this toolset ends with."""
    agent = Agent(a_model(name, arguments), toolsets=[toolset], output_type=[str, DeferredToolRequests])
    return asyncio.run(agent.run("Do it.")).output


def test_a_model_reads_conversations(sandbox: Sandbox, hook: FormantHook) -> None:
    """What it is given is JSON: a page of the list, and a record with its results."""
    placed = sandbox.place(PHONE)
    sandbox.advance(1000)
    toolset = HookToolset(hook, allowed_methods=["get_conversation", "list_conversations"])
    page = json.loads(answer_of(toolset, "list_conversations", {"limit": 5}))
    assert [item["conversation_id"] for item in page["items"]] == [placed.conversation_id]
    record = json.loads(answer_of(toolset, "get_conversation", {"conversation_id": placed.conversation_id}))
    assert record["status"] == "completed"
    assert record["transcript"][0]["role"] == "agent"


def test_a_call_waits_for_approval(sandbox: Sandbox, hook: FormantHook) -> None:
    """No phone rings before a person approves; then one does, with the pinned agent and the given key."""
    toolset = HookToolset(hook, allowed_methods=["create_call"], pinned_arguments={"agent_id": 456})
    agent = Agent(
        a_model("create_call", CALL),
        toolsets=[toolset.approval_required()],
        output_type=[str, DeferredToolRequests],
    )
    asked = asyncio.run(agent.run("Call Asha."))
    (request,) = asked.output.approvals
    assert (request.args_as_dict(), sandbox.rings) == (CALL, {})
    history = asked.all_messages()
    refused = DeferredToolResults(approvals={request.tool_call_id: False})
    asyncio.run(agent.run(message_history=history, deferred_tool_results=refused))
    assert sandbox.rings == {}
    approved = DeferredToolResults(approvals={request.tool_call_id: True})
    done = asyncio.run(agent.run(message_history=history, deferred_tool_results=approved))
    assert json.loads(done.output)["status"] == "initiated"
    (seen,) = sandbox.requests
    assert (seen.body["agent_id"], seen.body["idempotency_key"], sandbox.rings) == (456, "loan-7", {PHONE: 1})


def test_a_pinned_key_lets_a_model_call_once(sandbox: Sandbox, hook: FormantHook) -> None:
    """However often it calls, and whomever: the second call fails the run, and one phone has rung."""
    pinned = {"agent_id": 456, "idempotency_key": "run-1"}
    toolset = HookToolset(hook, allowed_methods=["create_call"], pinned_arguments=pinned)
    answer_of(toolset, "create_call", {"parameters": WHOM})
    other = {"parameters": {"customer_phone": "+14155550120"}}
    with pytest.raises(Exception, match="duplicate_request"):
        answer_of(toolset, "create_call", other)
    assert sandbox.rings == {PHONE: 1}


def test_a_model_cannot_choose_what_is_pinned(sandbox: Sandbox, hook: FormantHook) -> None:
    """An agent id of its own is refused before anything is sent."""
    toolset = HookToolset(
        hook, allowed_methods=["create_call"], pinned_arguments={"agent_id": 456}, max_retries=0
    )
    with pytest.raises(Exception, match="create_call"):
        answer_of(toolset, "create_call", {**CALL, "agent_id": 123})
    assert sandbox.requests == []


@pytest.mark.parametrize("name", TOOLS)
def test_a_schema_says_all_that_a_model_needs(name: str, hook: FormantHook) -> None:
    """A sentence for the tool and for each argument, a JSON type for each, and which are required."""
    seen: list[AgentInfo] = []
    agent = Agent(FunctionModel(_remember(seen)), toolsets=[HookToolset(hook, allowed_methods=[name])])
    asyncio.run(agent.run("What can you do?"))
    (tool,) = seen[0].function_tools
    assert tool.description
    properties = tool.parameters_json_schema["properties"]
    assert properties
    for each in properties.values():
        assert each["description"]
        assert "type" in each or all("type" in kind for kind in each["anyOf"])
    if name == "create_call":
        required = tool.parameters_json_schema["required"]
        assert sorted(required) == ["agent_id", "idempotency_key", "parameters"]


def _remember(seen: list[AgentInfo]) -> Callable[[list[ModelMessage], AgentInfo], ModelResponse]:
    def answer(_: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(info)
        return ModelResponse([TextPart("Calls.")])

    return answer

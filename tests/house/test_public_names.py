"""The public surface is this one list: each name can be imported, is explained, and is in the reference."""

from __future__ import annotations

import inspect
import re
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

import formant_provider
from formant_provider import get_provider_info

PACKAGE = Path(formant_provider.__file__).parent
REFERENCE = (PACKAGE.parent / "docs" / "reference.md").read_text()
PUBLIC = [
    "api.batch_models.BatchCall",
    "api.batch_models.BatchMetrics",
    "api.client.FormantClient",
    "api.config.ClientConfig",
    "api.errors.AuthenticationFailed",
    "api.errors.BadResponse",
    "api.errors.BatchOutcomeUnknown",
    "api.errors.CallNotAllowed",
    "api.errors.CallOutcomeUnknown",
    "api.errors.CallUnsuccessful",
    "api.errors.ConcurrencyLimited",
    "api.errors.DuplicateRequest",
    "api.errors.FormantError",
    "api.errors.InvalidContacts",
    "api.errors.InvalidInput",
    "api.errors.InvalidRequest",
    "api.errors.NotFound",
    "api.errors.RateLimited",
    "api.errors.RequestRefused",
    "api.errors.ResponseLost",
    "api.errors.RetryableError",
    "api.errors.SendAborted",
    "api.errors.ServerError",
    "api.errors.StoreMisconfigured",
    "api.errors.StoreUnavailable",
    "api.errors.TranscriptionOutcomeUnknown",
    "api.errors.TranscriptionUnsuccessful",
    "api.errors.Unreachable",
    "api.models.CallReceipt",
    "api.models.CallRequest",
    "api.models.Conversation",
    "api.models.ReceiptStatus",
    "api.models.Recording",
    "api.pages.Page",
    "api.retry.Quota",
    "api.retry.RetryPolicy",
    "api.store_config.StoreConfig",
    "api.transcription_models.TranscriptionJob",
    "api.webhook_config.WebhookConfig",
    "attempts.Attempts",
    "call_cap.CallCap",
    "calling_window.CallingWindow",
    "decorators.call.FormantCallDecoratedOperator",
    "decorators.call.formant_call_task",
    "decorators.call_list.FormantCallListDecoratedOperator",
    "decorators.call_list.formant_call_list_task",
    "hooks.formant.FormantHook",
    "links.ConversationLink",
    "notifications.call.FormantCallNotifier",
    "notifications.event.Event",
    "operators.batch.FormantCreateBatchCallOperator",
    "operators.call.FormantCreateCallOperator",
    "operators.call_list.FormantCallListOperator",
    "operators.export.FormantExportConversationsOperator",
    "operators.storage.FormantConversationToObjectStorageOperator",
    "operators.suppression.FormantSuppressionOperator",
    "operators.transcription.FormantTranscribeOperator",
    "retries.FORMANT_RETRY_POLICY",
    "retries.FormantRetryPolicy",
    "sandbox.Fault",
    "sandbox.Sandbox",
    "sandbox.Settings",
    "sandbox.WebhookFault",
    "sandbox.batches.Batch",
    "sandbox.calls.Attempt",
    "sandbox.calls.Call",
    "sandbox.numbers.Ending",
    "sandbox.recording.Recording",
    "sandbox.request_log.SeenRequest",
    "sandbox.transcriptions.Transcription",
    "sandbox.webhooks.SentWebhook",
    "sensors.batch.FormantBatchCallSensor",
    "sensors.conversation.FormantConversationSensor",
    "stop_when.StopWhen",
    "triggers.batch.BatchTrigger",
    "triggers.conversation.ConversationTrigger",
    "triggers.event.FormantConversationEventTrigger",
    "triggers.transcription.TranscriptionTrigger",
    "triggers.wait.WaitTrigger",
]


def load(name: str) -> Any:
    module, _, attribute = f"formant_provider.{name}".rpartition(".")
    return getattr(import_module(module), attribute)


def explained(value: Any) -> list[str]:
    return re.findall(r"^ *:param (\w+):", inspect.getdoc(value) or "", re.MULTILINE)


def arguments_of(value: Any) -> list[str]:
    """The arguments a caller can give; `**kwargs`, mostly those of Airflow's base classes, if explained."""
    free = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    given = [each for each in inspect.signature(value).parameters.values() if each.name != "self"]
    return [each.name for each in given if each.kind not in free or each.name in explained(value)]


def in_the_reference() -> list[tuple[str, list[str]]]:
    """Each name, and the members that are shown of it; of a module, its members are the names."""
    found = []
    directive = r"^\.\. auto(\w+):: formant_provider\.(\S+)$(?:\n +:members: (.+)$)?"
    for kind, name, members in re.findall(directive, REFERENCE, re.MULTILINE):
        shown = members.split(", ") if members else []
        found += [(f"{name}.{each}", []) for each in shown] if kind == "module" else [(name, shown)]
    return found


def test_the_reference_is_the_public_surface() -> None:
    """The reference has the names of the list, all of them and none besides, with members that exist."""
    names = [name for name, _ in in_the_reference()]
    assert sorted(names) == PUBLIC == sorted(set(PUBLIC))
    assert not [
        (name, each) for name, shown in in_the_reference() for each in shown if not hasattr(load(name), each)
    ]


def test_all_that_airflow_is_told_of_is_public() -> None:
    """No operator, sensor, trigger, hook, notifier, decorator or link is missing from the list."""
    info = get_provider_info()
    entries = [each for kind in ("hooks", "operators", "sensors", "triggers") for each in info[kind]]
    for module in (module for entry in entries for module in entry["python-modules"]):
        for name, value in vars(import_module(module)).items():
            # A dataclass is a record that a trigger passes on, nothing that users make.
            ours = inspect.isclass(value) and value.__module__ == module and not is_dataclass(value)
            assert not ours or name.startswith("_") or f"{module}.{name}".partition(".")[2] in PUBLIC
    named = [
        *info["notifications"],
        *info["extra-links"],
        *(each["class-name"] for each in info["task-decorators"]),
    ]
    assert {name.partition(".")[2] for name in named} <= set(PUBLIC)
    assert {f"sandbox.{name}" for name in import_module("formant_provider.sandbox").__all__} <= set(PUBLIC)


CALLABLES = [name for name in PUBLIC if callable(load(name))]
METHODS = [
    f"hooks.formant.FormantHook.{each}" for each in dict(in_the_reference())["hooks.formant.FormantHook"]
]


@pytest.mark.parametrize("name", CALLABLES)
def test_it_says_what_it_is(name: str) -> None:
    """The docstring of each public class and function begins with a sentence."""
    assert (inspect.getdoc(load(name)) or "").split("\n\n", maxsplit=1)[0].endswith((".", ":"))


# Records are what users get, not what they make.
RECORDS = ("api.errors", "api.models", "api.batch_models", "notifications.event", "sandbox")


@pytest.mark.parametrize("name", [name for name in CALLABLES if not name.startswith(RECORDS)])
def test_every_argument_is_explained(name: str) -> None:
    """The docstring has one `:param:` for each argument, in their order, and none besides."""
    assert explained(load(name)) == arguments_of(load(name))


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_of_the_hook_is_explained(name: str) -> None:
    """So has the docstring of each method of the hook that is in the reference."""
    owner, _, method = name.rpartition(".")
    assert explained(getattr(load(owner), method)) == arguments_of(getattr(load(owner), method))


@pytest.mark.parametrize(
    "path",
    [
        "triggers.batch.BatchTrigger",
        "triggers.conversation.ConversationTrigger",
        "triggers.event.FormantConversationEventTrigger",
        "triggers.wait.WaitTrigger",
    ],
)
def test_the_class_path_of_a_trigger_stays(path: str) -> None:
    """A path that lies in Airflow's database, of a waiting task, leads to a trigger after an upgrade too."""
    assert issubclass(load(path), BaseTrigger)
    assert f"{load(path).__module__}.{load(path).__name__}" == f"formant_provider.{path}"


@pytest.mark.parametrize(
    "init", [*PACKAGE.glob("core/**/__init__.py"), *PACKAGE.glob("tasks/**/__init__.py")], ids=str
)
def test_an_internal_package_says_so(init: Path) -> None:
    """Who opens it reads in its first line that it may change at any time."""
    assert "internal" in init.read_text().splitlines()[0].lower()

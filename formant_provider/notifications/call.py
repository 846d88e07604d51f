"""Calls the person on call when a task fails, a DAG fails, or a deadline is missed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pendulum
from airflow.providers.common.compat.sdk import BaseNotifier

from formant_provider.hooks.formant import FormantHook
from formant_provider.notifications.event import Event, event_of
from formant_provider.notifications.recording import STORE_TAKES_S, Recording, hook_for_page
from formant_provider.notifications.templates import render
from formant_provider.notifications.threads import within
from formant_provider.tasks.capping import CapOptions
from formant_provider.tasks.privacy import mask_numbers

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.client import FormantClient
    from formant_provider.api.errors import DuplicateRequest, FormantError
    from formant_provider.api.models import CallReceipt, CallRequest
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.call_cap import CallCap

# Airflow ends a worker 20 s after its task is over, callbacks or not ([core] task_success_overtime). So no
# send begins later than this, and none takes longer than twice the timeout: 18 s in all. An answer that comes
# byte by byte, or a name that is not resolved, keeps to no timeout, and is left behind then.
NO_SEND_AFTER_S = 8.0
LONGEST_TIMEOUT_S = 5.0
LONGEST_S = 17.5
MAX_SENDS = 3


class FormantCallNotifier(BaseNotifier):
    """Call a person about a task, a DAG run or a deadline, once for each event.

    For ``on_failure_callback``, ``on_retry_callback``, ``on_success_callback``, ``on_skipped_callback`` and
    ``on_execute_callback`` of tasks, ``on_failure_callback`` and ``on_success_callback`` of DAGs, and for
    deadline alerts, with ``SyncCallback`` and with ``AsyncCallback``.

    However often Airflow calls back for one event (one DAG run, task, map index, and kind of event; or one
    deadline), one agent calls one person once: all calls carry the same idempotency key, and the vendor
    refuses a second one for 24 hours. Further tries of a task are the same event, also after a clear.

    With a call store the call is on record there as any other, and nobody on its do-not-call list is called.
    A store that cannot be used within three seconds keeps no page from being sent, unless it has a cap.

    It never makes a task worse: whatever goes wrong is logged and not raised, and it takes no longer than
    18 seconds. It sends at most three times, and always with the same key.

    Templates know the context of the callback, and in every kind of callback ``event``, ``var`` and ``conn``;
    see :class:`~formant_provider.notifications.event.Event`. They render to text, whatever the DAG says of
    native rendering.

    Vendor page: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call

    :param agent_id: the agent that talks: an integer, or a template that renders to digits. (templated)
    :param parameters: what the agent is told, in the forms that
        :class:`~formant_provider.operators.call.FormantCreateCallOperator` takes; ``customer_phone`` is the
        person to call. Airflow stores the arguments of a deadline alert as they are written: there, name the
        number by a template such as ``{{ var.value.on_call_phone }}``. (templated)
    :param idempotency_key: a name for what the call is about. Whatever has the same name calls the same
        person once in 24 hours. ``None`` means the event. (templated)
    :param metadata: opaque text that travels with the call; a mapping is encoded as JSON. ``None`` means
        none. (templated)
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :param call_cap: a :class:`~formant_provider.call_cap.CallCap`: how often the person may be called, by all
        who share the connection's call store, which it needs. In a deadline alert it is text such as
        ``"2/1d"``. When the store cannot be asked, nobody is called. ``None`` means however often: the
        connection's cap does not hold here. (templated)
    """

    template_fields: Sequence[str] = (
        "agent_id",
        "parameters",
        "idempotency_key",
        "metadata",
        "formant_conn_id",
        "region",
        "call_cap",
    )

    def __init__(
        self,
        *,
        agent_id: int | str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        idempotency_key: str | None = None,
        metadata: str | Mapping[str, Any] | None = None,
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        call_cap: CallCap | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id, self.parameters = agent_id, parameters
        self.idempotency_key, self.metadata = idempotency_key, metadata
        self.formant_conn_id, self.region, self.call_cap = formant_conn_id, region, call_cap

    # Airflow's own two would write our fields into the task's context, for all to see, and keep what was
    # rendered for the first event for all that follow in the same process.

    def __call__(self, *args: Any) -> None:
        """Call the person, as a callback."""
        self.notify(args[0])

    def __await__(self) -> Generator[Any, None, None]:
        """Call the person, as an asynchronous callback of a deadline."""
        return self.async_notify(self.context).__await__()

    def notify(self, context: Context) -> None:
        """Call about the event of this context, unless that was done before. Raises nothing."""
        with self._errors_logged():
            page = self._page(context)
            with _naming("formant_conn_id"):
                client = page.hook.get_conn(_repeats())
            with client:
                self._send(page, client)

    async def async_notify(self, context: Context) -> None:
        """Do as :meth:`notify` does, without blocking the event loop."""
        # Not asyncio.to_thread: from there, templates could not read variables in every triggerer.
        from asgiref.sync import sync_to_async

        with self._errors_logged():
            page = await sync_to_async(self._page, thread_sensitive=False)(context)
            with _naming("formant_conn_id"):
                client = await page.hook.aget_conn(_repeats())
            with client:
                await sync_to_async(self._send, thread_sensitive=False)(page, client)

    def _page(self, context: Context) -> _Page:
        """Return the call to place."""
        from formant_provider.api.errors import SendAborted
        from formant_provider.core.calls.request import build_request

        event = event_of(context, self)
        fields = self._rendered(context, event)
        mask_numbers(fields["parameters"])
        hook = FormantHook(fields.pop("formant_conn_id"), fields.pop("region") or None)
        cap = CapOptions.from_text(fields.pop("call_cap"), "skip")
        if fields["idempotency_key"] is None:
            fields["idempotency_key"] = event.name
        if fields["idempotency_key"] is None:
            raise SendAborted("The context of this callback does not tell which event it is about")
        call = build_request(
            **fields,
            scheduled_for=None,
            conversation_id=None,
            retry_context=None,
            task=(event.dag_id, event.run_id, event.task_id),
            now=pendulum.now("UTC"),
        )
        with _naming("formant_conn_id"):
            hook = hook_for_page(hook, needs_store=cap.call_cap is not None)
            cap.check(hook)
        return _Page(event, call, hook, Recording(hook, call, event, cap.rule(None)))

    def _rendered(self, context: Context, event: Event) -> dict[str, Any]:
        """Return the fields for this event. Nothing rendered stays with the notifier."""
        from airflow.sdk.execution_time.context import ConnectionAccessor, VariableAccessor

        dag = context.get("dag")
        # Native rendering would take the plus sign from a number.
        env = dag.get_template_env(force_sandboxed=True) if dag else self.get_template_env()
        known: dict[str, Any] = {
            "conn": ConnectionAccessor(),
            "var": {"value": VariableAccessor(False), "json": VariableAccessor(True)},
            **context,
            "event": event,
        }
        return {name: render(name, getattr(self, name), env, known) for name in self.template_fields}

    def _send(self, page: _Page, client: FormantClient) -> None:
        """Place the call, within the time that there is."""
        from formant_provider.api.errors import FormantError, ResponseLost, SendAborted

        began = time.monotonic()

        def left_s() -> float:
            return LONGEST_S - (time.monotonic() - began)

        def too_late() -> FormantError | None:
            if time.monotonic() - began <= NO_SEND_AFTER_S:
                return None
            return SendAborted(f"The API took no call within {NO_SEND_AFTER_S:g} s")

        def place() -> CallReceipt:
            return client.with_timeouts(LONGEST_TIMEOUT_S).create_call(page.call, before_send=too_late)

        key = page.call.idempotency_key
        self.log.info("Calling about: %s. Idempotency key %s.", page.event, key)
        page.recording.begin()
        try:
            receipt = within(left_s(), place)
        except (FormantError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                text = f"The API did not finish its answer within {LONGEST_S:g} s"
                error = ResponseLost(text, maybe_placed=True)
            page.recording.failed(error, min(STORE_TAKES_S, left_s()))
            raise error from None
        self.log.info("The call was placed: status %s, trace_id %s.", receipt.status, receipt.trace_id)
        page.recording.placed(receipt, min(STORE_TAKES_S, left_s()))

    @contextmanager
    def _errors_logged(self) -> Iterator[None]:
        """Log whatever is raised, in words that hold nothing private, and raise nothing."""
        from formant_provider.api.errors import DuplicateRequest, FormantError, Superseded

        try:
            yield
        except Superseded as error:
            self.log.info("%s. No second call is placed.", error)
        except DuplicateRequest as error:
            self._log_duplicate(error)
        except FormantError as error:
            placed = "A call may have been placed." if error.maybe_placed else "No call was placed."
            self.log.error("Could not call: %s. %s", error, placed)
        except Exception as error:
            # The text of an error that is not ours may hold anything.
            self.log.error("Could not call, by an error of kind %s.", type(error).__name__)

    def _log_duplicate(self, error: DuplicateRequest) -> None:
        from formant_provider.api.retry import is_unclear

        if error.earlier and not any(map(is_unclear, error.earlier)):
            self.log.warning(
                "The API refused this call and then called its key used (%s). Perhaps no call was placed.",
                error.earlier[-1],
            )
        else:
            self.log.info(
                "A call about this event was placed before: the API knows its key. No second call is placed."
            )


class _Page(NamedTuple):
    """One call about one event, ready to be sent."""

    event: Event
    call: CallRequest
    hook: FormantHook
    recording: Recording


def _repeats() -> RetryPolicy:
    from formant_provider.api.retry import RetryPolicy

    return RetryPolicy(
        max_attempts=MAX_SENDS, max_inline_wait_s=NO_SEND_AFTER_S, max_total_wait_s=NO_SEND_AFTER_S
    )


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Let errors that are not ours say nothing but where they happened."""
    from formant_provider.api.errors import FormantError, InvalidInput

    try:
        yield
    except FormantError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise InvalidInput(field, f"could not be rendered or read ({kind})") from None

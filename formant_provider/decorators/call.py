"""``@task.formant_call``: a function returns whom to call and what the agent says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    TaskDecorator,
    determine_kwargs,
    task_decorator_factory,
)

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.tasks.calls.receipts import leaving_a_result
from formant_provider.tasks.given_fields import refuse_none
from formant_provider.tasks.privacy import hide, mask_numbers, reveal

if TYPE_CHECKING:
    from airflow.sdk import Context

# What a function may not return: a task that was deferred continues without its function, and needs the first
# two; hours and a cap are checked when the file is parsed; and whether people are called, all can see.
_OF_THE_DECORATOR = ("formant_conn_id", "region", "calling_window", "call_cap", "dry_run")


class FormantCallDecoratedOperator(DecoratedOperator, FormantCreateCallOperator):
    """Places the call that a function returns; made by ``@task.formant_call``.

    The function runs in every try, and once more when the task continues after the API's rate limit: what it
    needs to know stays in the worker. While the task waits for the conversation it is not needed. So that a
    further try means the same call, agent, recipient and, if it returns one, ``idempotency_key`` must be the
    same each time it runs.

    :param python_callable: the function. It returns the call's ``parameters``, as a mapping or as a list of
        name and value; or a mapping with ``parameters`` and any other template field of
        :class:`~formant_provider.operators.call.FormantCreateCallOperator` but ``formant_conn_id``,
        ``region``, ``calling_window``, ``call_cap`` and ``dry_run``. What it returns is not rendered.
    :param op_args: its arguments; their values are hidden. (templated)
    :param op_kwargs: its arguments by name; their values are hidden. (templated)
    :param agent_id: the agent that talks; ``None`` means that the function returns it. (templated)
    :param kwargs: every other argument of the operator.
    :raises TypeError: at parse time, for an asynchronous function, or for ``parameters``.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *FormantCreateCallOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **FormantCreateCallOperator.template_fields_renderers,
    }
    private_fields: ClassVar[tuple[str, ...]] = (
        *FormantCreateCallOperator.private_fields,
        "op_args",
        "op_kwargs",
    )
    custom_operator_name = "@task.formant_call"
    # What Airflow shows of the call is known once the function has run.
    overwrite_rtif_after_execution = True

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        agent_id: Any = None,
        **kwargs: Any,
    ) -> None:
        if inspect.iscoroutinefunction(python_callable):
            raise TypeError("@task.formant_call takes no asynchronous function")
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            agent_id=agent_id,
            parameters=(),
            **kwargs,
        )

    def execute(self, context: Context) -> Any:
        """Run the function, then do with what it returned as the operator does."""
        from formant_provider.tasks.failures import PLACING_A_CALL, ending_the_task

        args, kwargs = reveal(self.op_args), reveal(self.op_kwargs)
        wanted = determine_kwargs(self.python_callable, args, {**context, **kwargs})
        with leaving_a_result(context, self.row_of, skipped="by_function"):
            returned = self.python_callable(*args, **wanted)
            with ending_the_task(PLACING_A_CALL):
                self._take(returned)
        # Not DecoratedOperator's, which would read arguments that are hidden.
        return FormantCreateCallOperator.execute(self, context)

    def _take(self, returned: object) -> None:
        """Keep what the function returned as the operator keeps what was rendered."""
        call = _as_call(returned)
        mask_numbers({name: value for name, value in call.items() if name not in self.unmasked_fields})
        for name, value in call.items():
            setattr(self, name, hide(value) if name in self.private_fields and value is not None else value)


def _as_call(returned: object) -> Mapping[str, Any]:
    """Return the fields of the call; a ``None`` may come from an XCom without a value, and is refused.

    A mapping is a whole call when its ``parameters`` are a mapping or a list. No value of a call parameter
    can be either, so one that happens to be named ``parameters`` is not mistaken for it.
    """
    from formant_provider.api.errors import InvalidInput

    if not (isinstance(returned, Mapping) and isinstance(returned.get("parameters"), Mapping | list | tuple)):
        return {"parameters": returned}
    for name in returned:
        if name in _OF_THE_DECORATOR:
            raise InvalidInput(name, "must be given to the decorator, where it may be a template")
        if name not in FormantCreateCallOperator.template_fields:
            shown = name if isinstance(name, str) and name.isidentifier() else "returned value"
            raise InvalidInput(shown, "is not a field of a call")
        if returned[name] is None:
            refuse_none(name)
    return returned


def formant_call_task(
    python_callable: Callable[..., Any] | None = None,
    *,
    multiple_outputs: bool = False,
    **options: Any,
) -> TaskDecorator:
    """Turn a function into a task that places the call it returns.

    Airflow offers this as ``@task.formant_call``.

    :param python_callable: the function, when used without parentheses.
    :param multiple_outputs: whether every field of what the *task* returns is an XCom of its own.
    :param options: arguments of :class:`~formant_provider.operators.call.FormantCreateCallOperator`, except
        ``parameters``.
    """
    return task_decorator_factory(
        python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=FormantCallDecoratedOperator,
        **options,
    )

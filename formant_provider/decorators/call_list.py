"""``@task.formant_call_list``: a function returns whom to call."""

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

from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.tasks.privacy import hide, reveal

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context


class FormantCallListDecoratedOperator(DecoratedOperator, FormantCallListOperator):
    """Calls everybody whom a function returns; made by ``@task.formant_call_list``.

    The function runs in every try, and each time that the task goes on after a wait. Whoever it returned
    before is not called again. What it returns is not rendered, and Airflow never shows it.

    :param python_callable: the function. It returns what ``calls`` of
        :class:`~formant_provider.operators.call_list.FormantCallListOperator` takes.
    :param op_args: its arguments; their values are hidden. (templated)
    :param op_kwargs: its arguments by name; their values are hidden. (templated)
    :param kwargs: every other argument of the operator.
    :raises TypeError: at parse time, for an asynchronous function, or for ``calls``.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *FormantCallListOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {**DecoratedOperator.template_fields_renderers}
    private_fields: ClassVar[tuple[str, ...]] = (
        *FormantCallListOperator.private_fields,
        "op_args",
        "op_kwargs",
    )
    custom_operator_name = "@task.formant_call_list"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if inspect.iscoroutinefunction(python_callable):
            raise TypeError("@task.formant_call_list takes no asynchronous function")
        if "calls" in kwargs:
            raise TypeError("@task.formant_call_list takes no calls: its function returns them")
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            calls=(),
            **kwargs,
        )

    def _wake(self, context: Context, deadline: datetime | None) -> dict[str, Any]:
        args, kwargs = reveal(self.op_args), reveal(self.op_kwargs)
        wanted = determine_kwargs(self.python_callable, args, {**context, **kwargs})
        self.calls = hide(self.python_callable(*args, **wanted))
        return super()._wake(context, deadline)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the function, then call everybody whom it returned."""
        # Not DecoratedOperator's, which would read arguments that are hidden.
        return FormantCallListOperator.execute(self, context)


def formant_call_list_task(
    python_callable: Callable[..., Any] | None = None,
    *,
    multiple_outputs: bool = False,
    **options: Any,
) -> TaskDecorator:
    """Turn a function into a task that calls everybody whom it returns.

    Airflow offers this as ``@task.formant_call_list``.

    :param python_callable: the function, when used without parentheses.
    :param multiple_outputs: whether every field of what the *task* returns is an XCom of its own.
    :param options: arguments of :class:`~formant_provider.operators.call_list.FormantCallListOperator`,
        except ``calls``.
    """
    return task_decorator_factory(
        python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=FormantCallListDecoratedOperator,
        **options,
    )

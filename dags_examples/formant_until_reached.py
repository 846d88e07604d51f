"""Calls one person until they are reached, three times at most, in a loop. Needs Airflow 3.4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow import sdk
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync

from formant_provider.operators.call import FormantCreateCallOperator

ATTEMPTS = 3
# After these nobody was reached. What came of a call may also be unknown, and then nobody is called again.
AGAIN = {"no_answer", "busy"}
PAUSE = timedelta(hours=2)

if hasattr(sdk, "LoopDecision"):  # else this Airflow has no loops, and no such DAG
    with sdk.DAG(
        "formant_until_reached",
        description="Calls one person until they are reached, three times at most.",
        schedule=None,
        start_date=datetime(2026, 1, 1),
        default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
        tags=["formant"],
    ) as dag:

        @sdk.task_group
        def attempt() -> None:
            """One attempt. In each iteration it is a call of its own; a retry or a clear places no other."""

            @sdk.task
            def choose_time(*, loop: Any) -> str:
                """Call at once first, and then two hours after the last call was over."""
                return (datetime.now(UTC) + (PAUSE if loop.index else timedelta())).isoformat()

            pause = DateTimeSensorAsync(
                task_id="pause", target_time="{{ ti.xcom_pull(task_ids='attempt.choose_time') }}"
            )
            call = FormantCreateCallOperator(
                task_id="call",
                agent_id=456,
                parameters={"customer_phone": "+14155550170", "customer_name": "Asha"},
                wait_for_completion=True,
                deferrable=True,
                on_unsuccessful="succeed",
            )
            choose_time() >> pause >> call

        def is_over(*, loop: Any) -> Any:
            """Stop unless nobody was reached. Without the second condition the last gate would fail."""
            status = loop.result["status"]
            stop = status not in AGAIN or loop.index + 1 == ATTEMPTS
            return sdk.LoopDecision(stop=stop, reason=f"attempt {loop.index + 1}: {status}")

        attempt.loop(max_iterations=ATTEMPTS, until=is_over)

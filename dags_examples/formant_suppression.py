"""Keeps the do-not-call list of the call store: from letters, and from what people have told the agent."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, task
from airflow.timetables.interval import CronDataIntervalTimetable

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.suppression import FormantSuppressionOperator

PEOPLE = [
    {"customer_phone": "+14155550170", "customer_name": "Asha"},
    {"customer_phone": "+14155550171", "customer_name": "Rahul"},
]

with DAG(
    "formant_suppression",
    description="Puts who asked for it on the do-not-call list, and calls the others.",
    schedule=CronDataIntervalTimetable("0 8 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:

    @task(show_return_value_in_logs=False)
    def letters() -> list[str]:
        """Stand in for a query. A file is better: its numbers never lie in Airflow's database."""
        return ["+14155550170"]

    wrote_a_letter = FormantSuppressionOperator(
        task_id="wrote_a_letter", numbers=letters(), on_empty="skip", reason="letter, read on {{ ds }}"
    )
    told_the_agent = FormantSuppressionOperator(
        task_id="told_the_agent",
        agent_id=456,
        when={"results.do_not_call": True},
        # A day more than the interval: a call that was not over yesterday had no results then.
        start="{{ data_interval_start.subtract(days=1) }}",
        reason="told the agent on the phone",
    )
    # Asha is skipped: every call over the connection's store asks the list.
    calls = FormantCreateCallOperator.partial(
        task_id="call", agent_id=456, trigger_rule="none_failed"
    ).expand(parameters=PEOPLE)
    [wrote_a_letter, told_the_agent] >> calls

"""Calls one person, stores the recording, and has it transcribed."""

from __future__ import annotations

from datetime import datetime, timedelta
from tempfile import gettempdir

from airflow.sdk import DAG, Param

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.storage import FormantConversationToObjectStorageOperator
from formant_provider.operators.transcription import FormantTranscribeOperator

with DAG(
    "formant_transcription",
    description="Calls one person, and writes what was said to a file.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    # Enough for a first try. In production, use a location such as s3://connection@bucket/calls.
    params={"folder": Param(f"{gettempdir()}/formant", type="string")},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    call = FormantCreateCallOperator(
        task_id="call",
        agent_id=456,
        parameters={"customer_phone": "+14155550190", "customer_name": "Asha"},
        wait_for_completion=True,
        deferrable=True,
        # Who was not reached has said nothing.
        on_unsuccessful="skip",
    )
    store = FormantConversationToObjectStorageOperator(
        task_id="store",
        conversation_id="{{ ti.xcom_pull('call')['conversation_id'] }}",
        folder_uri="{{ params.folder }}",
        include=["recording"],
    )
    transcribe = FormantTranscribeOperator(
        task_id="transcribe",
        audio="{{ ti.xcom_pull('store')['recording'] }}",
        output_uri="{{ params.folder }}/{{ run_id }}.json",
        languages=["hi-IN", "en-IN"],
        diarize=True,
        deferrable=True,
    )
    call >> store >> transcribe

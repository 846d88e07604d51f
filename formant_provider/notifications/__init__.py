"""Airflow notifiers of the FormantAI provider."""

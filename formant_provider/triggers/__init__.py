"""Airflow triggers of the FormantAI provider."""

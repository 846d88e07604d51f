"""Airflow operators of the FormantAI provider."""

"""Airflow hooks of the FormantAI provider."""

"""Airflow task decorators of the FormantAI provider."""

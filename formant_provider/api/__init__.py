"""A plain client of FormantAI's HTTP API, without Airflow."""

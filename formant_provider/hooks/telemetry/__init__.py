"""Metrics and spans, through what Airflow has for them. Internal."""

"""FormantAI over HTTP. Nothing in here imports Airflow."""

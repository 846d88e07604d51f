"""Files in the storages that Airflow knows. Internal."""

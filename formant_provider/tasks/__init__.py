"""What Airflow tasks of this provider share. Internal."""

"""The calls page in Airflow's UI: what is being called today, for whoever may read the DAGs. Internal."""

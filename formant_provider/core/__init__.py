"""The rules of placing and following calls: internal, without Airflow and without HTTP."""

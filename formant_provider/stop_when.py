"""When a call list stops before its end, as a user writes it in a DAG."""

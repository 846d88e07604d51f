"""How often a call list tries to reach one person, as a user writes it in a DAG."""

"""The migrations of the call store's tables, run by Alembic."""

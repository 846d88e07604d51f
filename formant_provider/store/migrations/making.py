"""What all migrations share: the types of columns, and how tables are made."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

DIGEST = sa.String(32)
NAME = sa.String(250)
TEXT = sa.Text().with_variant(sa.Text(2**24 - 1), "mysql")  # where a text has 64 KB at most
# Ids of others differ in case alone, which MySQL's own collations take for the same.
_OF_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


# MySQL keeps each table that was made before an upgrade died; the next one makes the others.


def make_table(name: str, *columns: Any) -> None:
    """Make a table, unless it is there."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *columns, **_OF_MYSQL)


def make_index(name: str, table: str, columns: list[str]) -> None:
    """Make an index, unless it is there."""
    if all(index["name"] != name for index in sa.inspect(op.get_bind()).get_indexes(table)):
        op.create_index(name, table, columns)

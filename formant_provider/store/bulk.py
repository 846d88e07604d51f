"""Statements about some thousand people at a time: in one way to the server where it can do that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, String, any_, bindparam, func, literal, select

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Table

_ARRAY = ARRAY(String)


def among(column: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    """Return the condition that a column is one of the parameter ``recipients``, a list."""
    if dialect == "postgresql":
        return column == any_(bindparam("recipients", type_=_ARRAY))
    return column.in_(bindparam("recipients", expanding=True))


def put_all(
    conn: Connection, table: Table, recipients: Sequence[str], others: Mapping[str, Any], *, keep: str
) -> None:
    """Insert a row for each recipient, in their order, or write one value into the row that is there.

    :param others: the other columns, the same for all.
    :param keep: the column that is written then.
    """
    if conn.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        given = func.unnest(bindparam("recipients", type_=_ARRAY)).column_valued("given")
        values = [literal(value, table.c[name].type) for name, value in others.items()]
        rows = insert_postgresql(table).from_select(["recipient", *others], select(given, *values))
        upsert = rows.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_={keep: rows.excluded[keep]}
        )
        conn.execute(upsert, {"recipients": list(recipients)})
    elif recipients:
        conn.execute(_upsert(conn, table, keep), [{"recipient": one, **others} for one in recipients])


def _upsert(conn: Connection, table: Table, keep: str) -> Any:
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_sqlite

        rows = insert_sqlite(table)
        key = list(table.primary_key.columns)
        return rows.on_conflict_do_update(index_elements=key, set_={keep: rows.excluded[keep]})
    from sqlalchemy.dialects.mysql import insert as insert_mysql

    mysql = insert_mysql(table)
    return mysql.on_duplicate_key_update({keep: mysql.inserted[keep]})

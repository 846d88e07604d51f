"""Statements about some thousand people at a time: in one way to the server, where it can do that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, JSON, String, any_, bindparam, func, literal, select, true

from formant_provider.store.schema import calls

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Table

    from formant_provider.store.secrets import Digests

_ARRAY = bindparam("recipients", type_=ARRAY(String))
_JSON = bindparam("recipients", type_=JSON)


def among(column: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    """Return the condition that a column is one of the parameter ``recipients``, a list."""
    if dialect == "postgresql":
        return column == any_(_ARRAY)
    if dialect == "sqlite":
        return column.in_(select(_given(dialect)))
    return column.in_(bindparam("recipients", expanding=True))


def people_of(conn: Connection, digests: Digests, intent_id: str) -> dict[str, Any]:
    """Return how many people count as called by a batch call, and a digest of who, when, by which upload."""
    mine = select(calls.c.recipient, calls.c.attempt, calls.c.call_at)
    mine = mine.where(calls.c.intent_id == intent_id, calls.c.counted.is_(True))
    found = conn.execute(mine).all()
    return {"count": len(found), "digest": digests.people(" ".join(map(str, row)) for row in found)}


def put_all(
    conn: Connection, table: Table, recipients: Sequence[str], others: Mapping[str, Any], *, keep: str
) -> None:
    """Insert a row for each recipient, in their order, or write one value into the row that is there.

    :param others: the other columns, the same for all.
    :param keep: the column that is written then.
    """
    if not recipients:
        return
    if conn.dialect.name in {"mysql", "mariadb"}:
        from sqlalchemy.dialects.mysql import insert as insert_mysql

        mysql = insert_mysql(table)
        upsert = mysql.on_duplicate_key_update({keep: mysql.inserted[keep]})
        conn.execute(upsert, [{"recipient": recipient, **others} for recipient in recipients])
        return
    if conn.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment] # of the same shape
    values = [literal(value, table.c[name].type) for name, value in others.items()]
    # Without a condition, SQLite takes what follows for that of a join.
    rows = select(_given(conn.dialect.name), *values).where(true())
    put = insert(table).from_select(["recipient", *others], rows)
    key = list(table.primary_key.columns)
    conn.execute(
        put.on_conflict_do_update(index_elements=key, set_={keep: put.excluded[keep]}),
        {"recipients": list(recipients)},
    )


def _given(dialect: str) -> ColumnElement[Any]:
    """Return the parameter ``recipients`` as a column, in its order."""
    if dialect == "postgresql":
        return func.unnest(_ARRAY).column_valued("given")
    return func.json_each(_JSON).table_valued("value").c.value

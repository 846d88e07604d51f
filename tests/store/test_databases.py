from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from support.databases import Database


def test_each_test_has_an_empty_database_of_its_own(database: Database) -> None:
    """What a test creates is there for each of its connections."""
    with database.engine().begin() as connection:
        connection.execute(text("CREATE TABLE formant_here (id INTEGER)"))
    with database.engine().connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM formant_here")).scalar() == 0


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_server_can_be_killed_and_keeps_what_was_committed(database: Database) -> None:
    """A kill takes all of its processes at once; after a start it has what was committed, no more."""
    assert database.server is not None
    engine = database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE formant_here (id INTEGER)"))
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO formant_here VALUES (1)"))
        database.server.kill()
        with pytest.raises(OperationalError):
            connection.commit()
    with pytest.raises(OperationalError):
        engine.connect()
    database.server.start()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM formant_here")).scalar() == 0

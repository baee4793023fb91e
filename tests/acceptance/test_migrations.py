"""The migrations and the declarations agree."""

import alembic.command
import sqlalchemy as sa

from server.storage.migrate import config, driver_url


def test_a_migrated_database_has_exactly_the_declared_tables(database_url: str) -> None:
    """`alembic check` finds nothing to generate; it raises and names the difference if it does."""
    engine = sa.create_engine(driver_url(database_url))
    with engine.connect() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        tables = sa.inspect(connection).get_table_names()
        alembic.command.check(settings)
    engine.dispose()
    assert "record" in tables

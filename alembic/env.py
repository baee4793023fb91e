"""Alembic's environment: online only, on the connection that `server.storage.migrate` hands over, or on DATABASE_URL."""

import os
from typing import Any

import sqlalchemy as sa

from alembic import context
from server.storage.migrate import driver_url, includes
from server.storage.tables import metadata


def run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=False,  # a default rewritten by PostgreSQL would compare as changed
        include_name=includes,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Any = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = sa.create_engine(driver_url(os.environ["DATABASE_URL"]))
    with engine.connect() as opened:
        run(opened)
    engine.dispose()

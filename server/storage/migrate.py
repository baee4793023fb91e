"""Bringing a database to today's schema: our migrations by alembic, the job queue's by procrastinate."""

from pathlib import Path
from typing import Final

import alembic.command
import procrastinate
import sqlalchemy as sa
from alembic.config import Config

ARTICLE_INDEX: Final = "knowledge_article_words_idx"
_CHECKOUT: Final = Path(__file__).resolve().parents[2] / "alembic"
_INSTALLED: Final = Path(__file__).resolve().parents[1] / "_alembic"
"""Where the wheel carries the migrations."""


def driver_url(url: str) -> str:
    """The URL for SQLAlchemy's synchronous psycopg driver, which migrations run on."""
    return "postgresql+psycopg://" + url.split("://", 1)[1]


def includes(name: str | None, kind: str, _parents: object) -> bool:
    """What alembic compares: everything but the job queue's own tables, and the index on a function that it cannot compare."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_")) and name != ARTICLE_INDEX


def config() -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(_INSTALLED if _INSTALLED.exists() else _CHECKOUT))
    settings.set_main_option("path_separator", "os")
    return settings


def migrate(url: str) -> None:
    """Upgrade to the newest revision; safe to run from several processes at once."""
    engine = sa.create_engine(driver_url(url))
    try:
        with engine.begin() as lock:
            lock.execute(sa.text("select pg_advisory_xact_lock(7205759403792793)"))
            with engine.connect() as connection:
                settings = config()
                settings.attributes["connection"] = connection
                alembic.command.upgrade(settings, "head")
            _install_queue(lock, url)
            lock.execute(sa.text("select secure_tenant_tables()"))
            lock.execute(sa.text("grant all on all tables in schema public to truckroll_app"))
            lock.execute(sa.text("grant all on all sequences in schema public to truckroll_app"))
    finally:
        engine.dispose()


def _install_queue(connection: sa.Connection, url: str) -> None:
    if connection.execute(sa.text("select to_regclass('procrastinate_jobs')")).scalar() is None:
        queue = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=url))
        with queue.open():
            queue.schema_manager.apply_schema()

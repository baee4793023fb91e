"""A device process that a test may kill: attaches a file and sends it, stopping for good after the first piece.
Arguments: the replica, the file, and `attach` or `send`."""

import asyncio
import sys
import threading
from pathlib import Path

from client_sdk import Progress, Replica
from sync.entities import WorkOrder


def stop(progress: Progress) -> None:
    print(progress.done_bytes, flush=True)  # noqa: T201  # what the test waits for
    threading.Event().wait()


async def main(path: Path, content: Path, step: str) -> None:
    replica = Replica.open(path)
    if step == "attach":
        with replica.edit("photo") as tx:
            replica.attachments.attach(tx, content, media_type="image/jpeg", parent=WorkOrder, parent_id="W1")
            if tx.changes and content.name == "unfinished":
                print("attached", flush=True)  # noqa: T201  # what the test waits for
                threading.Event().wait()
        print("stored", flush=True)  # noqa: T201  # what the test waits for
        threading.Event().wait()
    await replica.attachments.sync(stop)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))

"""A device as a process: writes leads and syncs, and prints the id of each lead once it is stored.

python -m tests.client_sdk.worker FILE NAME COUNT
"""

import asyncio
import sys

from client_sdk import Replica, SyncError
from sync.entities import Lead, WorkOrder


async def work(path: str, name: str, count: int) -> None:
    with Replica.open(path) as replica:
        for number in range(count):
            with replica.edit(f"{name} {number}") as tx:
                lead = tx.create(Lead(need=f"{name} {number}"))
                tx.set(WorkOrder, "wo1", cause=f"{name} {number}")
            print(lead, flush=True)  # noqa: T201  # the parent reads it
            if number % 3 == 2:
                try:
                    await replica.sync()
                except SyncError as error:
                    print(f"# {error}", flush=True)  # noqa: T201  # the parent reads it
        await replica.sync()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))

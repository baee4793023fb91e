"""The demo from end to end: a server, a company, a plan, a day on bad lines, and the reckoning."""

import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from demo import selling
from demo.company import NAME, Size
from demo.crew import Gone, Handset
from demo.day import Day
from demo.house import House, HouseError
from demo.importer import Import, Imported
from demo.line import Line
from demo.luck import luck
from demo.office import Desk, OfficeError
from demo.places import BadAddresses, Place, made_up, read_places
from demo.reckoning import look_at_plan, reckon
from demo.report import Report, rows_of
from demo.story import Story
from sync.policies import Role

DAY_MS: Final = 86_400_000
SKEW_MS: Final = 9 * 365 * DAY_MS
"""How far one phone's clock is ahead."""


class Options(msgspec.Struct, frozen=True):
    """`addresses` places the sites on the real addresses of `city`; `once` ends the demo where it would otherwise keep serving."""

    once: bool = False
    json: Path | None = None
    addresses: Path | None = None
    city: str = ""
    seed: int = 7
    size: Size = Size()
    plan_s: float = 6.0


def run(options: Options) -> int:
    """Play the demo and return its exit code: 0 only if nothing was lost or doubled, all converged, and the plan is sound."""
    story = Story()
    try:
        places = _places(options)
        return asyncio.run(_interruptible(options, places, story))
    except BadAddresses as error:
        story.say(f"[red]{error}[/]")
        return 2
    except (HouseError, OfficeError, Gone) as error:
        story.say("[red]The demo broke off.[/]")
        story.line("the demo", str(error))
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        story.say("\nended; nothing is left behind")
        return 130


def _places(options: Options) -> list[Place]:
    if options.addresses is not None:
        return read_places(options.addresses, options.city)
    if options.city:
        raise BadAddresses("--city needs --addresses, the file to look the city up in")
    return made_up(luck(options.seed), options.size.jobs + 20)


async def _interruptible(options: Options, places: list[Place], story: Story) -> int:
    """SIGTERM ends the demo as Ctrl-C does, with all its processes."""
    task = asyncio.current_task()
    assert task is not None, "this runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await _demo(options, places, story)


async def _demo(options: Options, places: list[Place], story: Story) -> int:
    day_ms = (time.time_ns() // 1_000_000 // DAY_MS + 1) * DAY_MS
    story.chapter("A company and its server")
    async with House() as house:
        story.line("the server", f"is a process of its own at {house.url}, with its own PostgreSQL")
        imported = await house.set_up(Import(str(house.home), options.seed, options.size, places, day_ms))
        story.line("an importer", f"brings {NAME}: {imported.records} records, {len(imported.logins)} people")
        async with contextlib.AsyncExitStack() as stack:
            desks: dict[Role, Desk] = {}
            crew: list[Handset] = []
            for login in imported.logins:
                if login.person.role in (Role.DISPATCHER, Role.MANAGER):
                    desks[login.person.role] = await stack.enter_async_context(Desk(house.url, login, house.home))
                else:
                    line = await stack.enter_async_context(Line(house.port, luck(options.seed, login.person.key)))
                    crew.append(Handset(login, house.home, line, house.environment, story.line, seed=options.seed))
                    stack.push_async_callback(crew[-1].quit)
            day = Day(crew, desks[Role.DISPATCHER], desks[Role.MANAGER], story, options.seed, day_ms)
            day.technicians[-1].skew_ms = SKEW_MS
            report = await _play(day, imported, options)
            if options.json is not None:
                await asyncio.to_thread(options.json.write_bytes, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
            await _where_next(day, house, options)
    return 0 if report.sound else 1


async def _play(day: Day, imported: Imported, options: Options) -> Report:
    """The chapters in their order, and the report of what came of them."""
    story = day.story
    outcomes = await day.dispatcher.create(imported.orders)
    story.line(day.dispatcher.person.name, f"takes {len(outcomes)} orders for the day")
    story.chapter("The plan")
    best, asked = await day.plan(options.plan_s)
    plan = await look_at_plan(day.dispatcher, best, asked)
    await day.dispatch()
    story.chapter("Devices")
    await day.enrol()
    story.line(day.technicians[-1].name, f"has a phone whose clock is {SKEW_MS // DAY_MS // 365} years ahead")
    story.chapter("Morning: no signal")
    await day.morning()
    story.chapter("Noon: the signal comes back, badly")
    await day.signal()
    story.chapter("Afternoon")
    await day.afternoon()
    story.chapter("Sales")
    await selling.leads(day)
    await selling.deals(day)
    story.chapter("Evening: everybody comes back")
    await day.quiesce()
    story.chapter("The reckoning")
    report = await reckon(day, imported, plan)
    story.say()
    story.table("What came of it", rows_of(report))
    return report


async def _where_next(day: Day, house: House, options: Options) -> None:
    """On a terminal: keep serving, and say how to come in. Otherwise: say what to try."""
    story = day.story
    if options.once or not sys.stdout.isatty():
        story.say(
            "\nNext: [bold]truckroll serve[/] runs the same server for you, [bold]truckroll tenant create NAME[/] makes a company,"
        )
        story.say("[bold]truckroll device list NAME[/] shows who has seen what. docs/howto/run-the-demo.md explains what you saw.")
        return
    code = await day.manager.new_code(day.technicians[0].user)
    story.say(f"\nStill serving at [bold]{house.url}[/] (API: {house.url}/v1/docs). Ctrl-C ends it and leaves nothing behind.")
    story.say(f"Devices:  TRUCKROLL_HOME={house.home} uv run truckroll device list '{NAME}'")
    story.say(f"Enrol one more device of {day.technicians[0].name} with the code [bold]{code}[/]:")
    story.say(f"""  curl -d '{{"code":"{code}","device_name":"mine"}}' {house.url}/v1/enrol""")
    story.say("or from Python as docs/howto/build-an-app.md shows.")
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await over.wait()
    story.say("\nended; nothing is left behind")

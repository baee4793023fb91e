"""The company that the demo is about: made from a seed, the same each time. Pure.

What an importer brings (customers, machines, people, vans with stock) is given as typed records; the orders of the day are what
the dispatcher's desk then writes through the server's API.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from demo.places import Place
from sync.entities import (
    Account,
    Appointment,
    Asset,
    BusinessRule,
    Contact,
    Depot,
    Position,
    PriceBook,
    PriceEntry,
    Product,
    Shift,
    Site,
    SkillHeld,
    StockMove,
    Technician,
    WorkOrder,
    WorkOrderTask,
)
from sync.entities.flows import AppointmentStatus
from sync.entities.stock import MoveReason
from sync.policies import Role
from sync.schema import Entity

NAME: Final = "Northwind Climate"
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
LIFETIME_DAYS: Final = 12 * 365
"""Half of all machines are replaced by that age."""
PINNED: Final = 3
"""How many visits are pinned to a technician and a time."""

_FIRST: Final = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ida", "Jon", "Kim", "Leo", "Mia", "Ned", "Oda", "Pia")
_LAST: Final = ("Ruiz", "Okafor", "Lind", "Moreau", "Sato", "Haas", "Novak", "Byrne", "Costa", "Dahl", "Egan", "Fox")
_SKILLS: Final = ("cooling", "heating", "electrical", "plumbing")
_TRADES: Final = {
    "cooling": (("Roof unit trips", "Cold room too warm", "Chiller service"), ("compressor", "fan motor", "filter drier")),
    "heating": (("Boiler locks out", "Burner service", "No heat on floor 2"), ("ignition set", "circulation pump", "gas valve")),
    "electrical": (("Panel hums", "Sensor wiring", "Controls upgrade"), ("contactor", "room sensor", "relay board")),
    "plumbing": (("Leak at riser", "Backflow test", "Valve stuck"), ("ball valve", "seal kit", "pressure gauge")),
}
_STEPS: Final = ("isolate and lock out", "measure and note", "clean and inspect", "test under load", "brief the customer")
_FIRMS: Final = ("Bakery", "Clinic", "Library", "Foundry", "School", "Hotel", "Dairy", "Print Works", "Market Hall", "Museum")

Record = tuple[str, Entity]
"""A record's id and its fields."""


class Person(msgspec.Struct, frozen=True):
    """Somebody with a login. `key` names the device, the journal and, for a technician, the technician's record."""

    key: str
    name: str
    role: Role
    territories: tuple[str, ...] = ()


class Size(msgspec.Struct, frozen=True):
    """How big the day is. `jobs` is what could be served; the impossible ones come on top."""

    technicians: int = 12
    reps: int = 2
    jobs: int = 60


class Order(msgspec.Struct, frozen=True):
    """One work order with its tasks and its one appointment: what the dispatcher's desk writes as one transaction."""

    subject: str
    records: tuple[Record, ...]


class Company(msgspec.Struct, frozen=True):
    imported: tuple[Record, ...]
    orders: tuple[Order, ...]


def people(size: Size) -> tuple[Person, ...]:
    """Everybody who works here; the territories are strips from west to east, one for each rep."""
    areas = [f"area-{at}" for at in range(1, size.reps + 1)]
    technicians = [
        Person(f"tech-{at + 1:02}", f"{_FIRST[at % len(_FIRST)]} {_LAST[at * 5 % len(_LAST)]}", Role.TECHNICIAN)
        for at in range(size.technicians)
    ]
    sellers = ("Rita Vance", "Sam Wolfe", "Tess Quill")
    reps = [Person(f"rep-{at + 1}", sellers[at % len(sellers)], Role.REP, (area,)) for at, area in enumerate(areas)]
    office = [Person("dispatch", "Dora Blake", Role.DISPATCHER), Person("manager", "Max Stone", Role.MANAGER)]
    return (*technicians, *reps, *office)


def found(random: Random, places: Sequence[Place], size: Size, users: Mapping[str, str], day_ms: int) -> Company:
    """The company on `places`, for a day that begins at `day_ms`. `users` are the ids of the logins by their keys."""
    staff = people(size)
    technicians = [person for person in staff if person.role is Role.TECHNICIAN]
    areas = [person.territories[0] for person in staff if person.role is Role.REP]
    homes = random.sample(places, min(len(technicians), len(places)))
    spots = random.sample(places, len(places))
    imported: list[Record] = [("depot-1", Depot(name="Main depot", position=_position(places[0])))]
    imported += [*_catalogue(), *_for_sale()]
    customers = _Customers(imported, spots, areas, day_ms)
    for at, person in enumerate(technicians):
        imported += _technician(random, at, person, users[person.key], homes[at % len(homes)], day_ms)
    calls = [_job(random, at, technicians, day_ms) for at in range(size.jobs)]
    orders = [_order(number, call, customers) for number, call in enumerate([*calls, *_impossible(day_ms)], 1001)]
    return Company(tuple(imported), tuple(orders))


def _position(place: Place) -> Position:
    return Position(place.lat, place.lon)


def _catalogue() -> list[Record]:
    """The parts of every trade."""
    parts = [(skill, part) for skill, (_, names) in _TRADES.items() for part in names]
    return [
        (_part_id(part), Product(sku=_part_id(part).upper(), name=part, family=skill, price_cents=1_900 + 700 * at))
        for at, (skill, part) in enumerate(parts)
    ]


def _for_sale() -> list[Record]:
    """The machines that wear out and a contract, what they cost on the list and at least, and the rules of selling."""
    wares = [
        (
            _plant_id(skill),
            Product(sku=f"PLANT-{at}", name=f"new {skill} plant", family="plant", price_cents=cents, lifetime_days=LIFETIME_DAYS),
        )
        for at, (skill, cents) in enumerate(zip(_TRADES, (1_850_000, 1_240_000, 460_000, 320_000), strict=True), 1)
    ]
    wares.append(("service-contract", Product(sku="SERVICE-1", name="service contract", family="service", price_cents=96_000)))
    listed = [
        (
            f"list-1.{name}",
            PriceEntry(price_book="list-1", product=name, price_cents=w.price_cents, floor_cents=w.price_cents * 9 // 10),
        )
        for name, w in wares
    ]
    credit = {"accrue_cents": 1_000, "confirm_cents": 2_500, "confirm_pct": 0.5, "cap_cents": 10_000}
    rules = [
        ("incentive.1", BusinessRule(kind="incentive", version=1, body=credit)),
        ("quote_approval.1", BusinessRule(kind="quote_approval", version=1, body={"limit_pct": {"rep": 8, "manager": 25}})),
    ]
    return [*wares, ("list-1", PriceBook(version="2026")), *listed, *rules]


def _plant_id(skill: str) -> str:
    return f"plant-{skill}"


def _part_id(part: str) -> str:
    return f"part-{part.replace(' ', '-')}"


class _Customers:
    """Accounts with contacts, sites and machines, made one after another as orders need them."""

    def __init__(self, imported: list[Record], spots: Sequence[Place], areas: Sequence[str], day_ms: int) -> None:
        self._imported, self._spots, self._areas, self._day_ms = imported, spots, areas, day_ms
        self._west_to_east = sorted(place.lon for place in spots)
        self._made = 0

    def site(self, skill: str, *, mapped: bool = True) -> tuple[str, str, str]:
        """A new site with an account and a machine of its trade; returns the three ids. Every third site joins the last account."""
        at, place = self._made, self._spots[self._made % len(self._spots)]
        self._made += 1
        area = self._area(place.lon)
        account = f"account-{at - at % 3 + 1:03}"
        if at % 3 == 0:
            firm = f"{place.street.split(' ', 1)[-1].rsplit(' ', 1)[0]} {_FIRMS[at // 3 % len(_FIRMS)]}"
            self._imported.append((account, Account(name=firm, territory=area, segment="commercial")))
            contact = Contact(account=account, name=f"{_FIRST[at % len(_FIRST)]} at {firm}", phones=(f"+1 555 {at:04}",))
            self._imported.append((f"contact-{at + 1:03}", contact))
        site, asset = f"site-{at + 1:03}", f"asset-{at + 1:03}"
        fields = Site(
            account=account,
            name=f"{place.street}, {place.city}",
            address=place.street,
            city=place.city,
            postal_code=place.postal_code,
            position=_position(place) if mapped else None,
            territory=area,
            access_notes="Ring at the gate. Park behind the hall.",
        )
        product = _plant_id(skill) if skill in _TRADES else None
        age_days = (at * 5 % 19) * 365
        installed = self._day_ms - age_days * 24 * HOUR_MS
        machine = Asset(site=site, name=f"{skill} plant", serial=f"SN{at + 1:05}", product=product, installed_on=installed)
        self._imported += [(site, fields), (asset, machine)]
        return account, site, asset

    def _area(self, lon: float) -> str:
        rank = self._west_to_east.index(lon) / len(self._west_to_east)
        return self._areas[int(rank * len(self._areas))] if self._areas else ""


def _technician(random: Random, at: int, person: Person, user: str, home: Place, day_ms: int) -> list[Record]:
    """A technician with skills and a shift; the depot serves everybody."""
    start = day_ms + 7 * HOUR_MS + 30 * MINUTE_MS * (at % 3)
    fields = Technician(
        name=person.name,
        user=user,
        home=_position(home),
        depot="depot-1",
        speed_factor=(1.0, 0.9, 1.1)[at % 3],
        cost_hour_cents=4_200,
    )
    made: list[Record] = [(person.key, fields)]
    for step, level in ((0, 3), (1, 2), (2, 1)):
        skill = _SKILLS[(at + step) % len(_SKILLS)]
        made.append((f"{person.key}.{skill}", SkillHeld(technician=person.key, skill=skill, level=level)))
    shift = Shift(
        technician=person.key,
        start=start,
        end=start + 9 * HOUR_MS,
        break_s=30 * 60,
        break_earliest=start + 3 * HOUR_MS,
        break_latest=start + 5 * HOUR_MS,
    )
    made.append((f"{person.key}.shift", shift))
    for product, _ in _catalogue():
        stock = StockMove(
            location=f"technician:{person.key}",
            product=product,
            quantity=random.randint(4, 9),
            reason=MoveReason.RECEIVED,
            at=day_ms,
        )
        made.append((f"{person.key}.{product}", stock))
    return made


class _Call(msgspec.Struct, frozen=True):
    """What a customer asks for; `visit` lacks its order."""

    subject: str
    skill: str
    level: int
    priority: int
    visit: Appointment
    steps: int = 2
    mapped: bool = True


def _job(random: Random, at: int, technicians: Sequence[Person], day_ms: int) -> _Call:
    """A job that somebody can serve; six in ten with a promised window, a few pinned to a technician and a time."""
    skill = _SKILLS[at % len(_SKILLS)]
    earliest = day_ms + random.randint(8, 13) * HOUR_MS
    promised = (earliest, earliest + random.randint(2, 4) * HOUR_MS) if random.random() < 0.6 else (None, None)
    duration_s = random.choice((30, 40, 50, 60, 75)) * 60
    visit = Appointment(work_order="", duration_s=duration_s, promised_from=promised[0], promised_to=promised[1])
    if at < PINNED:
        pin = at * len(technicians) // PINNED
        skill = _SKILLS[pin % len(_SKILLS)]
        start = day_ms + (9 + at) * HOUR_MS
        visit = Appointment(
            work_order="",
            technician=technicians[pin].key,
            pinned=True,
            planned_start=start,
            planned_end=start + HOUR_MS,
            status=AppointmentStatus.SCHEDULED,
        )
    subject = random.choice(_TRADES[skill][0])
    return _Call(subject, skill, random.choice((1, 1, 2)), random.randint(1, 4), visit, random.randint(2, 4))


def _impossible(day_ms: int) -> tuple[_Call, ...]:
    """What nobody can serve, each for another reason; the plan has to say which."""
    early = Appointment(work_order="", promised_from=day_ms + 3 * HOUR_MS, promised_to=day_ms + 4 * HOUR_MS)
    return (
        _Call("Lift the chiller onto the roof", "crane", 1, 2, Appointment(work_order="")),
        _Call("Rewind the generator", "electrical", 9, 2, Appointment(work_order="")),
        _Call("Before the bakery opens", "heating", 1, 2, early),
        _Call("Overhaul the whole plant", "cooling", 1, 2, Appointment(work_order="", duration_s=11 * 3600)),
        _Call("Pump in the new building", "plumbing", 1, 2, Appointment(work_order=""), mapped=False),
    )


def _order(number: int, call: _Call, customers: _Customers) -> Order:
    account, site, asset = customers.site(call.skill, mapped=call.mapped)
    order = f"order-{number}"
    fields = WorkOrder(
        account=account,
        site=site,
        asset=asset,
        number=f"WO-{number}",
        type="repair",
        subject=call.subject,
        priority=call.priority,
        skill=call.skill,
        skill_level=call.level,
    )
    tasks = [
        (f"{order}.task-{at + 1}", WorkOrderTask(work_order=order, title=_STEPS[at], position=at, required=at == 0))
        for at in range(call.steps)
    ]
    visit = msgspec.structs.replace(call.visit, work_order=order)
    return Order(f"WO-{number} {call.subject}", ((order, fields), *tasks, (f"visit-{number}", visit)))

"""Whether two records mean the same: blocking, then a scored comparison. Pure.

The score is Fellegi and Sunter's ("A theory for record linkage", JASA 64, 1969): each compared field falls to a level of likeness,
and adds log2(m ÷ u), where m and u are how often that level is seen among pairs that are the same and pairs that are not. A field
that one side does not have says nothing. Likeness of words is measured by rapidfuzz, of sounds by jellyfish.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import jellyfish
import msgspec
from rapidfuzz import fuzz
from rapidfuzz.distance import OSA, JaroWinkler
from rapidfuzz.utils import default_process

Fields: TypeAlias = Mapping[str, str]
"""What is compared, by name; several values of one field stand on lines of their own. A field that is empty may be absent."""

SAME_DAY_MS: Final = 86_400_000


class Compared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a field is compared. A likeness of at least `levels[i]` is level i, anything less the last one; `m` and `u` have one
    entry for each level and one for that last."""

    field: str
    kind: str
    levels: tuple[float, ...]
    m: tuple[float, ...]
    u: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.kind not in LIKENESS:
            raise ValueError(f"{self.field}: likeness is one of {', '.join(sorted(LIKENESS))}")
        if not len(self.levels) + 1 == len(self.m) == len(self.u) or min(*self.m, *self.u) <= 0:
            raise ValueError(f"{self.field}: m and u have a value above 0 for each level and one for less")

    def weight(self, level: int) -> float:
        return math.log2(self.m[level] / self.u[level])


class Matcher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`blocks` name what two records must share to be compared at all: fields with how they are cut ("email", "surname~sound",
    "phone~end7"). `prior` is how many of the compared pairs are the same; from `threshold` on they are taken to be."""

    blocks: tuple[tuple[str, ...], ...]
    fields: tuple[Compared, ...]
    prior: float = 0.05
    threshold: float = 0.9


class Evidence(msgspec.Struct, frozen=True):
    """One field's part in a score, in bits."""

    field: str
    level: int
    weight: float


class Likely(msgspec.Struct, frozen=True):
    """How likely two records are the same, and why."""

    chance: float
    evidence: tuple[Evidence, ...]

    @property
    def words(self) -> str:
        """The strongest evidence first."""
        told = sorted(self.evidence, key=lambda one: -abs(one.weight))
        return f"{self.chance:.1%}: " + ", ".join(f"{_LIKE[min(one.level, 2)]} {one.field} {one.weight:+.1f}" for one in told)


_LIKE: Final = ("same", "like", "other")


def blocking_keys(matcher: Matcher, fields: Fields) -> frozenset[str]:
    """What the record shares with those that it may be the same as; a block of which a field is empty gives none."""
    keys: set[str] = set()
    for block in matcher.blocks:
        combined = [""]
        for part in block:
            name, _, cut = part.partition("~")
            values = {_cut(value, cut) for value in fields.get(name, "").split("\n")} - {""}
            combined = [f"{so_far}|{value}" for so_far in combined for value in sorted(values)]
        keys |= {f"{'+'.join(block)}{one}" for one in combined}
    return frozenset(keys)


def _cut(value: str, cut: str) -> str:
    plain = _plain(value)
    match cut:
        case "sound":
            return " ".join(jellyfish.metaphone(word) or word for word in plain.split())
        case "end7":
            digits = _digits(value)
            return digits[-7:] if len(digits) >= 7 else ""
        case "start4":
            return plain[:4]
        case _:
            return plain


def compare(matcher: Matcher, one: Fields, other: Fields) -> Likely:
    bits = math.log2(matcher.prior / (1 - matcher.prior))
    evidence = []
    for compared in matcher.fields:
        level = level_of(compared, one.get(compared.field, ""), other.get(compared.field, ""))
        if level is not None:
            weight = compared.weight(level)
            bits += weight
            last = level == len(compared.levels)
            evidence.append(Evidence(compared.field, 2 if last else min(level, 1), weight))
    return Likely(1 / (1 + 2**-bits), tuple(evidence))


def level_of(compared: Compared, one: str, other: str) -> int | None:
    """The level to which two values are alike, the best of several; None if a side has none."""
    if not one or not other:
        return None
    likeness = LIKENESS[compared.kind]
    best = max(likeness(a, b) for a in one.split("\n") for b in other.split("\n"))
    return next((level for level, least in enumerate(compared.levels) if best >= least), len(compared.levels))


def candidates(matcher: Matcher, records: Mapping[str, Fields]) -> Iterator[tuple[str, str]]:
    """Every pair that shares a block, each once."""
    blocks: defaultdict[str, list[str]] = defaultdict(list)
    for record_id, fields in sorted(records.items()):
        for key in blocking_keys(matcher, fields):
            blocks[key].append(record_id)
    pairs = {(a, b) for ids in blocks.values() for at, a in enumerate(ids) for b in ids[at + 1 :]}
    yield from sorted(pairs)


def duplicates(matcher: Matcher, records: Mapping[str, Fields]) -> Iterator[tuple[str, str, Likely]]:
    """The pairs that are taken to be the same, with why."""
    for a, b in candidates(matcher, records):
        likely = compare(matcher, records[a], records[b])
        if likely.chance >= matcher.threshold:
            yield a, b, likely


def fit(matcher: Matcher, pairs: Sequence[tuple[Fields, Fields, bool]]) -> Matcher:
    """The matcher with m, u and prior as pairs from its blocks have them that are known to be the same or not (add-½ smoothing)."""
    found = []
    for compared in matcher.fields:
        counts = {True: [0.5] * (len(compared.levels) + 1), False: [0.5] * (len(compared.levels) + 1)}
        for one, other, same in pairs:
            level = level_of(compared, one.get(compared.field, ""), other.get(compared.field, ""))
            if level is not None:
                counts[same][level] += 1
        m, u = (tuple(count / sum(counts[same]) for count in counts[same]) for same in (True, False))
        found.append(msgspec.structs.replace(compared, m=m, u=u))
    prior = (sum(same for *_, same in pairs) + 0.5) / (len(pairs) + 1)
    return msgspec.structs.replace(matcher, fields=tuple(found), prior=prior)


@lru_cache(maxsize=65_536)
def _plain(value: str) -> str:
    """Lower case, words only."""
    return " ".join(default_process(value).split())


def _digits(value: str) -> str:
    return "".join(letter for letter in value if letter.isdigit())


def _same(a: str, b: str) -> float:
    return float(_plain(a) == _plain(b))


def _name(a: str, b: str) -> float:
    return JaroWinkler.normalized_similarity(_plain(a), _plain(b))


def _text(a: str, b: str) -> float:
    """Between "the same words" and "one has all the words of the other"."""
    return (fuzz.token_sort_ratio(_plain(a), _plain(b)) + fuzz.token_set_ratio(_plain(a), _plain(b))) / 200


def _code(a: str, b: str) -> float:
    """Typing errors in a number: insertions, deletions, replacements, swapped neighbours."""
    return OSA.normalized_similarity(_plain(a), _plain(b))


def _phone(a: str, b: str) -> float:
    """With or without the country's code."""
    one, other = _digits(a)[-9:], _digits(b)[-9:]
    return OSA.normalized_similarity(one, other) if min(len(one), len(other)) >= 6 else float(one == other)


def _days(a: str, b: str) -> float:
    """Minus the days that lie between two moments in ms."""
    return -abs(int(a) - int(b)) / SAME_DAY_MS


LIKENESS: Final[Mapping[str, Callable[[str, str], float]]] = {
    "same": _same,
    "name": _name,
    "text": _text,
    "code": _code,
    "phone": _phone,
    "days": _days,
}

_LEADS_BLOCKS: Final = (("site",), ("account",), ("offer",), ("contact_email",), ("contact_phone~end7",), ("company~sound",))
_LEADS: Final = (
    Compared("site", "same", (1,), (0.95, 0.05), (0.05, 0.95)),
    Compared("account", "same", (1,), (0.98, 0.02), (0.5, 0.5)),
    Compared("asset", "same", (1,), (0.85, 0.15), (0.3, 0.7)),
    Compared("offer", "same", (1,), (0.9, 0.1), (0.005, 0.995)),
    Compared("product", "same", (1,), (0.9, 0.1), (0.1, 0.9)),
    Compared("need", "text", (0.9, 0.6), (0.6, 0.37, 0.03), (0.03, 0.1, 0.87)),
    Compared("contact_name", "name", (0.92,), (0.85, 0.15), (0.3, 0.7)),
    Compared("contact_phone", "phone", (1,), (0.9, 0.1), (0.3, 0.7)),
    Compared("contact_email", "same", (1,), (0.9, 0.1), (0.2, 0.8)),
    Compared("company", "name", (0.92,), (0.85, 0.15), (0.1, 0.9)),
    Compared("at", "days", (-30, -180), (0.9, 0.09, 0.01), (0.4, 0.3, 0.3)),
)
_PERSON: Final = (
    Compared("email", "same", (1,), (0.8, 0.2), (0.001, 0.999)),
    Compared("phone", "phone", (1,), (0.8, 0.2), (0.002, 0.998)),
    Compared("name", "name", (0.95, 0.85), (0.7, 0.2, 0.1), (0.01, 0.03, 0.96)),
    Compared("account", "same", (1,), (0.95, 0.05), (0.2, 0.8)),
)


class LeadMatching(Matcher, frozen=True, forbid_unknown_fields=True):
    """The business rule "lead_matching": do two leads mean one need? The defaults are set by judgement: what is wanted decides,
    and who or where alone never does. Correlated contact fields weigh little each."""

    blocks: tuple[tuple[str, ...], ...] = _LEADS_BLOCKS
    fields: tuple[Compared, ...] = _LEADS


class ContactMatching(Matcher, frozen=True, forbid_unknown_fields=True):
    """The business rule "contact_matching": is the person of a lead one of the known contacts?"""

    blocks: tuple[tuple[str, ...], ...] = (("email",), ("phone~end7",), ("account", "name~sound"))
    fields: tuple[Compared, ...] = _PERSON


def lead_fields(lead: Mapping[str, object]) -> dict[str, str]:
    """What of a lead is compared."""
    names = [compared.field for compared in _LEADS if compared.field != "at"]
    fields = {name: str(lead[name]) for name in names if lead.get(name)}
    return fields | ({"at": str(lead["captured_at"])} if lead.get("captured_at") else {})


def person_of_lead(lead: Mapping[str, object]) -> dict[str, str]:
    said = {"name": "contact_name", "phone": "contact_phone", "email": "contact_email", "account": "account"}
    return {name: str(lead[field]) for name, field in said.items() if lead.get(field)}


def person_of_contact(contact: Mapping[str, Iterable[str] | str]) -> dict[str, str]:
    said = {"phone": "\n".join(contact.get("phones", ())), "email": "\n".join(contact.get("emails", ()))}
    return {name: value for name, value in said.items() if value} | {
        name: str(contact[name]) for name in ("name", "account") if contact.get(name)
    }

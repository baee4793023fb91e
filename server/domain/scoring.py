"""A lead's score: the chance that it is won, as a sum of points that a person can follow. Pure.

The model is a scorecard: a logistic regression on one-hot features, ridge-penalised (scikit-learn's `LogisticRegression`), of which
every feature's value has its points in log-odds. Only what is known when a lead is captured is a feature. A score is the chance in
per cent; its reasons are ten times the log-odds of each value.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from server.domain.ranking import AFFINITY, CONTRACT, RECOMMENDED, REPLACE, WARRANTY

DAY_MS: Final = 86_400_000
LEAST_EXAMPLES: Final = 10
"""A value seen less often than that has no points of its own."""
PENALTY: Final = 0.1
"""Inverse strength of the ridge, as scikit-learn counts it."""
BASE: Final = "base"
Features: TypeAlias = Mapping[str, str]

_OFFERS: Final = (REPLACE, WARRANTY, CONTRACT, AFFINITY, RECOMMENDED)
_BANDS: Final = ((0, "none"), (500_00, "below 500"), (5_000_00, "500 to 5 000"), (50_000_00, "5 000 to 50 000"))
_JUDGED: Final[dict[str, dict[str, float]]] = {
    "urgency": {"now": 0.7, "someday": -0.7},
    "estimate": {"none": -0.3, "below 500": 0.2},
    "product": {"named": 0.2},
    "customer": {"known": 0.1, "new": -0.2},
    "photo": {"yes": 0.2},
    "consent": {"given": 0.4, "none": -0.2},
    "offer": {RECOMMENDED: 0.8, REPLACE: 0.5, WARRANTY: 0.4, CONTRACT: 0.4, AFFINITY: 0.2},
}


class Scorecard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The business rule "lead_score": log-odds at the base and of each value of each feature; what is not named has none.

    The defaults are set by judgement; once there is history enough, the server learns the next version from it and writes down on
    how many leads, and how well it told newer ones apart (`auc`).
    """

    base: float = -1.5
    points: dict[str, dict[str, float]] = msgspec.field(default_factory=lambda: {n: dict(v) for n, v in _JUDGED.items()})
    learned_from: int = 0
    won: int = 0
    auc: float | None = None

    def odds(self, features: Features) -> float:
        """The log-odds of being won."""
        return self.base + sum(self.points.get(name, {}).get(value, 0.0) for name, value in features.items())

    def chance(self, features: Features) -> float:
        return 1 / (1 + math.exp(-self.odds(features)))

    def reasons(self, features: Features) -> tuple[tuple[str, float], ...]:
        """("feature: value", points) of every feature, the base first; ten points are one in log-odds."""
        told = [(f"{name}: {value}", self.points.get(name, {}).get(value, 0.0)) for name, value in sorted(features.items())]
        return tuple((words, round(10 * odds, 1)) for words, odds in [(BASE, self.base), *told])


class Example(msgspec.Struct, frozen=True):
    """A lead of the past: when it was captured, what was known then, and how long after that it was won, if it was."""

    at_ms: int
    features: Features
    won_after_ms: int | None


def features_of(lead: Mapping[str, object]) -> dict[str, str]:
    """What is known of a lead when it is captured."""
    estimate = int(str(lead.get("estimate_cents", 0)))
    band = next((name for most, name in _BANDS if estimate <= most), "above 50 000")
    offer = str(lead.get("offer") or "").rpartition(".")[2]
    return {
        "urgency": str(lead.get("urgency", "soon")),
        "estimate": band,
        "product": "named" if lead.get("product") else "open",
        "customer": "known" if lead.get("account") else "new",
        "photo": "yes" if lead.get("photo") else "no",
        "consent": "given" if lead.get("consent") else "none",
        "offer": offer if offer in _OFFERS else "some" if offer else "none",
        "source": str(lead.get("source") or "visit"),
    }


def learn(examples: Sequence[Example], within_ms: int, names: Sequence[str] | None = None) -> Scorecard:
    """The scorecard of examples whose fate was watched for `within_ms`. Deterministic. Raises ValueError if all ended alike.

    With `names`, of these features only.
    """
    import numpy as np  # noqa: PLC0415  # loaded only where something is learned
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  # takes a second to load

    won = np.array([_won(example, within_ms) for example in examples])
    if not 0 < won.sum() < len(won):
        raise ValueError("there is nothing to learn where all leads ended alike")
    counted = Counter((n, v) for e in examples for n, v in e.features.items() if names is None or n in names)
    columns = {pair: at for at, pair in enumerate(sorted(pair for pair, count in counted.items() if count >= LEAST_EXAMPLES))}
    if not columns:
        return Scorecard(base=_log_odds(float(won.mean())), points={}, learned_from=len(won), won=int(won.sum()))
    table = np.zeros((len(examples), len(columns)))
    for row, example in enumerate(examples):
        for pair in example.features.items():
            if pair in columns:
                table[row, columns[pair]] = 1
    model = LogisticRegression(C=PENALTY, max_iter=1000).fit(table, won)
    points: dict[str, dict[str, float]] = {}
    for (name, value), at in columns.items():
        points.setdefault(name, {})[value] = round(float(model.coef_[0, at]), 4)
    return Scorecard(base=round(float(model.intercept_[0]), 4), points=points, learned_from=len(won), won=int(won.sum()))


class Backtest(msgspec.Struct, frozen=True):
    """How well a scorecard of the past told newer leads apart.

    `auc` is the chance that a lead that was won scores above one that was not (½ is blind), with the range in which it lies in 95
    of 100 samples drawn from the newer leads. `lift` is how often the best tenth was won, over how often all were.
    """

    within_days: float
    split_ms: int
    learned_from: int
    learned_won: int
    tested: int
    tested_won: int
    base_rate: float
    auc: float
    auc_low: float
    auc_high: float
    auc_ever: float
    lift: float
    lift_fifth: float
    best_feature: str
    best_feature_auc: float
    best_feature_lift: float
    better_than_best_feature: float
    """In which share of the samples the score told leads apart better than the best single feature."""
    features: dict[str, float]
    auc_rival: float | None = None
    """What another scorecard does on the same newer leads."""


def backtest(
    examples: Sequence[Example],
    within_ms: int,
    *,
    split: float = 0.7,
    samples: int = 200,
    rival: Scorecard | None = None,
    until_ms: int | None = None,
) -> Backtest:
    """Learn from the older leads, judge on the newer ones.

    The split is a moment: `split` of the leads came before it. Learned is from leads whose fate was known by then (captured at
    least `within_ms` before), judged on leads captured after it and watched for as long, so neither side knows the future and a
    lead that is merely young counts for nobody. Single features are learned in the same way; the best of them is chosen on the
    newer leads, in its favour. `until_ms` is when the leads were last looked at, by default the last event among them.
    """
    import numpy as np  # noqa: PLC0415  # see above
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415  # see above

    ordered = sorted(examples, key=lambda example: example.at_ms)
    split_ms = ordered[int(len(ordered) * split)].at_ms
    last_ms = until_ms or max(e.at_ms + (e.won_after_ms or 0) for e in ordered)
    older = [e for e in ordered if e.at_ms <= split_ms - within_ms]
    newer = [e for e in ordered if split_ms < e.at_ms <= last_ms - within_ms]
    card = learn(older, within_ms)
    won = np.array([_won(e, within_ms) for e in newer])
    if not 0 < won.sum() < len(won):
        raise ValueError("there is nothing to judge by where all newer leads ended alike")
    names = sorted({name for example in older for name in example.features})
    singles = {name: learn(older, within_ms, [name]) for name in names}
    scored = {name: np.array([one.odds(e.features) for e in newer]) for name, one in singles.items()}
    mine = np.array([card.odds(e.features) for e in newer])
    alone = {name: round(float(roc_auc_score(won, odds)), 4) for name, odds in scored.items()}
    best = max(alone, key=lambda name: alone[name])
    drawn = _drawn(won, mine, scored[best], samples)
    low, high = np.quantile([one for one, _ in drawn], (0.025, 0.975))
    ever = np.array([e.won_after_ms is not None for e in newer])
    return Backtest(
        within_days=within_ms / DAY_MS,
        split_ms=split_ms,
        learned_from=len(older),
        learned_won=card.won,
        tested=len(newer),
        tested_won=int(won.sum()),
        base_rate=round(float(won.mean()), 4),
        auc=round(float(roc_auc_score(won, mine)), 4),
        auc_low=round(float(low), 4),
        auc_high=round(float(high), 4),
        auc_ever=round(float(roc_auc_score(ever, mine)), 4),
        lift=lift(mine.tolist(), won.tolist(), 0.1),
        lift_fifth=lift(mine.tolist(), won.tolist(), 0.2),
        best_feature=best,
        best_feature_auc=alone[best],
        best_feature_lift=lift(scored[best].tolist(), won.tolist(), 0.1),
        better_than_best_feature=round(sum(a > b for a, b in drawn) / len(drawn), 3),
        auc_rival=None if rival is None else float(roc_auc_score(won, [rival.odds(e.features) for e in newer])),
        features=dict(sorted(alone.items(), key=lambda entry: -entry[1])),
    )


def _drawn(won: Any, mine: Any, other: Any, samples: int) -> list[tuple[float, float]]:
    """How well two scores (arrays, as `won` is) tell apart in samples of the leads, drawn with replacement: the bootstrap."""
    import numpy as np  # noqa: PLC0415  # see above
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415  # see above

    random = np.random.default_rng(0)
    drawn = (random.integers(0, len(won), len(won)) for _ in range(samples))
    mixed = [rows for rows in drawn if 0 < won[rows].sum() < len(rows)]
    return [(float(roc_auc_score(won[rows], mine[rows])), float(roc_auc_score(won[rows], other[rows]))) for rows in mixed]


def lift(scores: Sequence[float], won: Sequence[bool], share: float) -> float:
    """How often the highest `share` of scores was won, over how often all were. Equal scores at the edge count in part."""
    most = max(1, round(len(scores) * share))
    edge = sorted(scores, reverse=True)[most - 1]
    above = [w for s, w in zip(scores, won, strict=True) if s > edge]
    level = [w for s, w in zip(scores, won, strict=True) if s == edge]
    hits = sum(above) + (most - len(above)) * sum(level) / len(level)
    return round(hits / most / (sum(won) / len(won)), 3)


def _won(example: Example, within_ms: int) -> bool:
    return example.won_after_ms is not None and example.won_after_ms <= within_ms


def _log_odds(rate: float) -> float:
    return math.log(rate / (1 - rate))

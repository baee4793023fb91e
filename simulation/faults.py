"""Chance, and the count of what it did."""

from collections import Counter
from random import Random

from simulation.plan import Fault, Plan


class Faults:
    """Decides whether a fault strikes here and now. Off until the world is set up, and again once it is to come to rest."""

    def __init__(self, plan: Plan) -> None:
        self.random = Random(f"faults {plan.seed}")
        self.counts: Counter[Fault] = Counter()
        self.on = False
        self.plan = plan

    def has(self, fault: Fault) -> bool:
        return fault in self.plan.faults

    def may(self, fault: Fault) -> bool:
        return self.on and self.has(fault)

    def strikes(self, fault: Fault, probability: float) -> bool:
        """Draws whether or not the fault is switched on, so that switching one off disturbs the others as little as can be."""
        drawn = self.random.random() < probability * self.plan.rate
        if drawn and self.may(fault):
            self.counts[fault] += 1
            return True
        return False

    def struck(self, fault: Fault) -> None:
        self.counts[fault] += 1

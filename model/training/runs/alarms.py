"""Alarms of a run: rules over its metrics that detect failing training. They are logged and printed; the run goes on.

A loss or gradient that is not finite ends a run (`loop`), and is an alarm of its last row. In the log an alarm is a
text in the list `alarms` of the row of its step, such as “zero gradient: …”; before the colon is its kind.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

ZERO_STEPS = 3  # in a row without a gradient
MOST_KL = 1.0  # nats per token, from the reference
GROWTH = 10.0  # times the mean KL of the last WINDOW steps, from LEAST_KL on
LEAST_KL = 0.1
WINDOW = 20  # steps
COLLAPSE = 0.1  # of the entropy at first
FIRST = 5  # steps by which it is measured
KL_NAMES = ("kl", "distill_kl")


@dataclass
class Alarms:
    """Follows the metrics of a run. An alarm is given when its condition begins, and again only after it has ended."""

    zero: int = 0  # steps in a row
    divergences: dict[str, deque[float]] = field(default_factory=dict)
    entropies: list[float] = field(default_factory=list)  # of the first steps
    standing: set[str] = field(default_factory=set)

    def of(self, metrics: Mapping[str, float]) -> list[str]:
        """The alarms that begin with a step of these metrics."""
        every = [self._zero_gradient(metrics), *self._divergences(metrics), self._entropy(metrics), _hacking(metrics)]
        active = dict(each for each in every if each is not None)
        begun = [f"{kind}: {message}" for kind, message in active.items() if kind not in self.standing]
        self.standing = set(active)
        return begun

    def _zero_gradient(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        self.zero = self.zero + 1 if metrics.get("gradient_norm") == 0 else 0
        if self.zero < ZERO_STEPS:
            return None
        return "zero gradient", f"nothing was learnt in {self.zero} steps; look at the data, the rewards, the weights"

    def _divergences(self, metrics: Mapping[str, float]) -> list[tuple[str, str] | None]:
        alarms: list[tuple[str, str] | None] = []
        for name in KL_NAMES:
            if name in metrics:
                before = self.divergences.setdefault(name, deque(maxlen=WINDOW))
                alarms.append(self._running_away(name, metrics[name], before))
                before.append(metrics[name])
        return alarms

    def _running_away(self, name: str, value: float, before: deque[float]) -> tuple[str, str] | None:
        grown = len(before) == WINDOW and value > max(LEAST_KL, GROWTH * fmean(before))
        if value <= MOST_KL and not grown:
            return None
        advice = "lower the learning rate, or raise the weight of the divergence"
        return f"{name} running away", f"{value:.3g} nats per token from the reference; {advice}"

    def _entropy(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        if "entropy" not in metrics:
            return None
        if len(self.entropies) < FIRST:
            self.entropies.append(metrics["entropy"])
            return None
        share = metrics["entropy"] / max(fmean(self.entropies), 1e-9)
        if share >= COLLAPSE:
            return None
        advice = "the policy draws the same again and again; lower the learning rate, or weigh the KL more"
        return "entropy collapse", f"{metrics['entropy']:.3g} nats, {share:.0%} of what it was at first; {advice}"


def _hacking(metrics: Mapping[str, float]) -> tuple[str, str] | None:
    """What `safeguards.reward_watch` found."""
    if not metrics.get("watch_alarm"):
        return None
    rise, count = metrics["watch_rise"], metrics["watch_disagreements"]
    finding = f"it has risen by {rise:.1f} standard deviations more, and ranks {count:.0f} of this step otherwise"
    advice = "look at those in the folder OUT-watch"
    return "reward hacking", f"the trained reward parts from the one that watches it: {finding}; {advice}"

"""Learning-rate schedule: linear warm-up, constant, decay.

Unlike a cosine it does not depend on the end until it descends, so a run can be prolonged by `--resume`.
"""


def learning_rate_factor(step: int, steps: int, warmup: int, falling: float = 0.25) -> float:
    """What the peak learning rate is multiplied by at `step` of `steps`; it falls over the last `falling` of them."""
    return min((step + 1) / max(warmup, 1), 1.0, max(0.02, (steps - step) / max(falling * steps, 1)))

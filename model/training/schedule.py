"""The learning rate's course, the same in every run: warm up, stay, descend over the last quarter.

Unlike a cosine it does not depend on the end until the last quarter, so a run can be prolonged by `--resume`.
"""


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """What the peak learning rate is multiplied by at `step` of `steps`."""
    return min((step + 1) / max(warmup, 1), 1.0, max(0.02, 4 * (steps - step) / steps))

"""How the fuzz tests of endpoints and pictures generate their cases: the same ones every time, none kept in a file."""

from hypothesis import HealthCheck, Phase, settings

FAST = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)

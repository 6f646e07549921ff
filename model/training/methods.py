"""The training methods by name, for menus: the command that runs each, and the kinds of rows that it learns from."""

from typing import NamedTuple


class Method(NamedTuple):
    """One method: `python -m model.training.NAME`; its options are the fields of a dataclass."""

    name: str
    title: str
    purpose: str  # a sentence, for a page
    settings: str  # the dataclass of its options, in its module
    kinds: tuple[str, ...] = ()  # of the exports that `--data` takes; empty: it draws its own data
    replays: bool = False  # whether it takes `--world`, which mixes in sequences of the embedded world
    draws: bool = True  # whether what it makes is to be drawn with
    steps: int = 100  # where a menu begins


METHODS = {
    method.name: method
    for method in (
        Method(
            "sft",
            "Fine-tuning",
            "Learns what people wrote and accepted: reflections, plans, drawings, redraws, edits.",
            "SftSettings",
            ("judge_sft", "thought_sft", "draw_sft", "redraw_sft", "edit_sft"),
            replays=True,
            steps=50,
        ),
        Method(
            "dpo",
            "Preferences (DPO)",
            "Learns which of two reflections, plans or drawings people prefer.",
            "DpoSettings",
            ("judge_pref", "thought_pref", "image_pref"),
        ),
        Method(
            "kto",
            "Right or wrong (KTO)",
            "Learns from single reflections, held right or wrong.",
            "KtoSettings",
            ("judge_kto",),
        ),
        Method(
            "reward",
            "Reward model",
            "Learns to score drawings as people do; a reward for reinforcement learning.",
            "RewardSettings",
            ("reward", "image_pref"),
            draws=False,
        ),
        Method(
            "grpo", "Reinforcement learning (GRPO)", "Draws, judges, and learns from rewards.", "GrpoSettings", steps=80
        ),
    )
}

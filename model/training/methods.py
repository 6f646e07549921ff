"""The training methods by name, for menus: the command that runs each, and the kinds of rows that it learns from."""

from typing import NamedTuple


class Method(NamedTuple):
    """One method: `python -m model.training.NAME`."""

    name: str
    title: str
    purpose: str  # a sentence, for a page
    kinds: tuple[str, ...] = ()  # of the exports that `--data` takes; empty: it draws its own data
    replays: bool = False  # whether it takes `--world`, which mixes in sequences of the embedded world
    steps: int = 100  # where a menu begins
    most_data: int = 1  # folders that `--data` takes


METHODS = {
    method.name: method
    for method in (
        Method(
            "sft", "Supervised fine-tuning", "Learns to say what people wrote of an image.", ("judge_sft",), True, 200
        ),
        Method("dpo", "Preference optimization", "Learns which of two reflections people prefer.", ("judge_pref",)),
        Method("grpo", "Reinforcement learning", "Draws, judges, and learns from rewards.", steps=80),
    )
}

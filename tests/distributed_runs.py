"""`distributed_runs.py CHECKPOINT FOLDER MODE NAME…`: short runs of these methods, in one process or several.

MODE: `whole`; `stop` (one process gets SIGTERM in the first step, then all go on by resuming); `kill` (one process is
killed in the second step); `resume`.
"""

import os
import random
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from PIL import Image as Picture

from model.examples import DrawnExample, JudgeExample, LabelledExample, PreferenceExample, RewardExample, StoredImage
from model.images import encode_png
from model.training import dpo, grpo, kto, reward, sft
from model.training.dataset import RowBounds
from model.training.loop import Loop
from model.training.preferences.rows import LABELLED_ROWS, PREFERENCE_ROWS
from model.training.rewards.reward_network import REWARD_ROWS, RewardNetwork
from model.training.runs.folder import RunStart, RunStopped
from model.training.runs.load_for_training import AdapterOptions, LoadOptions, open_for_training
from model.training.sources import WeightedRows
from model.training.world_data.world_prompts import world_prompts
from model.training.world_data.world_sequences import world_source
from model.world.scene import random_scene, render

STEPS = 2
COMMON = {"steps": STEPS, "learning_rate": 1e-3, "warmup": 0, "save_every": 1}
ROWS = {"batch": 3, "micro_batch": 1}
GROUPS = {"prompts": 2, "group": 3, "rounds": 2, "thinking": 0.0, "thinking_hard": 0.0}


@dataclass
class Built:
    """Rows in memory."""

    rows: list

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int):
        return self.rows[index]


def examples_of(name: str) -> tuple[Any, list]:
    pngs = [encode_png(Picture.fromarray(render(random_scene(random.Random(at), 2)))) for at in range(3)]
    texts = ("No, there is no cat.", "Yes, I see a red cat.", "No, the cat is blue.")
    said = [JudgeExample("a red cat", (png,), (), text) for png, text in zip(pngs, texts, strict=True)]
    drawn = [DrawnExample("a red cat", StoredImage(png)) for png in pngs]
    pairs = [
        PreferenceExample(JudgeExample("a red cat", one.images, (), texts[at - 1]), one) for at, one in enumerate(said)
    ]
    return {
        "dpo": (PREFERENCE_ROWS, [*pairs, PreferenceExample(drawn[0], drawn[1])]),
        "kto": (LABELLED_ROWS, [LabelledExample(one, at != 1) for at, one in enumerate(said)]),
        "reward": (REWARD_ROWS, [RewardExample(drawn[0], drawn[1], 0.5), RewardExample(drawn[2], score=0.75)]),
    }[name]


def train(name: str, checkpoint: Path, out: Path, start: RunStart) -> None:
    """`name`: a method, perhaps with “adapter” and “sharded” behind it."""
    method, adapter = name.split()[0], "adapter" in name
    common = COMMON | ({"sharding": "fsdp2"} if "sharded" in name else {})
    load_options = LoadOptions(AdapterOptions(rank=4) if adapter else None)
    janus = open_for_training(checkpoint, load_options, published_contexts=False)
    about = {"parent": str(checkpoint)}
    if method == "sft":
        settings = sft.SftSettings(**common, batch=5, micro_batches=2, distill=0.0, evaluate_prompts=0)
        sft.train(janus, world_source(janus, "all", 0, 5), settings, out, about, start)
    elif method == "grpo":
        settings = grpo.GrpoSettings(**common, **GROUPS)
        grpo.train(janus, settings, out, about, world_prompts(0, 2), start=start)
    else:
        row_format, examples = examples_of(method)
        data = [WeightedRows(Built([row_format.build(janus, each, RowBounds()) for each in examples]))]
        module, settings = {
            "dpo": (dpo, dpo.DpoSettings),
            "kto": (kto, kto.KtoSettings),
            "reward": (reward, reward.RewardSettings),
        }[method]
        learner = RewardNetwork(janus) if method == "reward" else janus
        module.train(learner, data, settings(**common, **ROWS), out, about, start)


def interrupted(number: signal.Signals, at: int) -> None:
    """Let the last process get a signal in a step."""
    step = Loop._step

    def signalled(loop: Loop, now: int, data: Any) -> dict[str, float]:
        if now == at and loop.accelerator.is_last_process:
            os.kill(os.getpid(), number)
        return step(loop, now, data)

    Loop._step = signalled


def main(checkpoint: Path, folder: Path, mode: str, *names: str) -> None:
    Accelerator.end_training = lambda self: None  # which would take the process group away from the next method
    plain = Loop._step
    for name in names:
        out = folder / name.replace(" ", "-")
        if mode == "kill":
            interrupted(signal.SIGKILL, 1)
        if mode == "stop":
            interrupted(signal.SIGTERM, 0)
            try:
                train(name, checkpoint, out, RunStart())
            except RunStopped:
                Loop._step = plain
                train(name, checkpoint, out, RunStart(resume=True))
        else:
            train(name, checkpoint, out, RunStart(resume=mode == "resume"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])

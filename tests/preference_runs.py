"""`preference_runs.py CHECKPOINT FOLDER`: two steps of DPO, KTO and a reward model, in one process or several."""

import random
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from PIL import Image as Picture

from model.backends.checkpoint.loading import open_checkpoint
from model.examples import DrawnExample, JudgeExample, LabelledExample, PreferenceExample, RewardExample, StoredImage
from model.images import encode_png
from model.training import dpo, kto, reward
from model.training.dataset import RowBounds
from model.training.preferences.reward_network import REWARD_ROWS, RewardNetwork
from model.training.preferences.rows import LABELLED_ROWS, PREFERENCE_ROWS
from model.training.sources import WeightedRows
from model.world.scene import random_scene, render

METHODS = ("dpo", "kto", "reward")


@dataclass
class Built:
    """Rows in memory."""

    rows: list

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int):
        return self.rows[index]


def main(checkpoint: Path, folder: Path) -> None:
    pngs = [encode_png(Picture.fromarray(render(random_scene(random.Random(at), 2)))) for at in range(3)]
    texts = ("No, there is no cat.", "Yes, I see a red cat.", "No, the cat is blue.")
    said = [JudgeExample("a red cat", (png,), (), text) for png, text in zip(pngs, texts, strict=True)]
    drawn = [DrawnExample("a red cat", StoredImage(png)) for png in pngs]
    pairs = [
        (PreferenceExample(JudgeExample("a red cat", one.images, (), texts[at - 1]), one))
        for at, one in enumerate(said)
    ]
    examples = {
        "dpo": (PREFERENCE_ROWS, [*pairs, PreferenceExample(drawn[0], drawn[1])]),
        "kto": (LABELLED_ROWS, [LabelledExample(one, at != 1) for at, one in enumerate(said)]),
        "reward": (REWARD_ROWS, [RewardExample(drawn[0], drawn[1], 0.5), RewardExample(drawn[2], score=0.75)]),
    }
    more = {"steps": 2, "batch": 3, "micro_batch": 1, "learning_rate": 1e-3, "warmup": 0, "save_every": 0}
    Accelerator.end_training = lambda self: None  # which would take the process group away from the next method
    for name, (format, some) in examples.items():
        janus = open_checkpoint(checkpoint, dtype=torch.float32)
        data = [WeightedRows(Built([format.build(janus, each, RowBounds()) for each in some]))]
        method = {"dpo": dpo, "kto": kto, "reward": reward}[name]
        learner = RewardNetwork(janus) if name == "reward" else janus
        method.train(learner, data, method.Settings(**more), folder / name, {"parent": str(checkpoint)})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

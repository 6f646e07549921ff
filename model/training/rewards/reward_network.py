"""The network of a reward model: a scalar head on a checkpoint, which reads a prompt and a drawing as when it judges.

The head stands where the verdict would begin, behind the self-check; before training it is the logit of “Yes” against
“No”, so that σ(reward) is the checkpoint's own P(yes). Shapes: B sequences, P rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from model.backends.checkpoint.loading import path_of
from model.backends.contract import CheckpointError
from model.backends.janus import Janus
from model.backends.request import Task
from model.decoding.load_for_inference import open_checkpoint
from model.examples import RewardExample
from model.sequences import image_pixel_pieces, prompt_pieces, self_check_pieces
from model.training.batch import Batch, attend_in_spans, collate
from model.training.dataset import RowBounds, RowFormat, pixels
from model.training.policy import make_trainable
from model.training.training_sequences import TrainingSequence

HEAD = "reward_head.safetensors"  # in the checkpoint's folder


@dataclass(frozen=True)
class RewardRow:
    """A drawing with its score, or two of which the first is preferred."""

    sequences: tuple[TrainingSequence, ...]
    margin: float = 0.0
    score: float = 0.0  # 0…1, of a drawing alone
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True, eq=False)
class RewardBatch:
    """P rows; of a drawing alone `second` is `first`."""

    batch: Batch
    first: torch.Tensor  # (P,) index of the sequence
    second: torch.Tensor  # (P,)
    margins: torch.Tensor  # (P,)
    scores: torch.Tensor  # (P,)
    weights: torch.Tensor  # (P,)

    @property
    def paired(self) -> torch.Tensor:
        """(P,) bool."""
        return self.first != self.second


class RewardNetwork(torch.nn.Module):
    """Rewards of a batch's sequences. What trains is the language model and the head."""

    def __init__(self, janus: Janus, head: torch.nn.Linear | None = None):
        super().__init__()
        self.janus, self.network = janus, janus.network
        self.head = head or _verdict_head(janus)
        make_trainable(janus)
        attend_in_spans(janus)

    def forward(self, batch: RewardBatch) -> torch.Tensor:
        """(B,) rewards: logits, any real number."""
        return self.head(self.states(batch).to(self.head.weight.dtype)).float()[:, 0]

    def states(self, batch: RewardBatch) -> torch.Tensor:
        """(B, D) hidden states where the verdict would begin."""
        packed = batch.batch
        inputs = self.janus.embed(packed.ids, packed.kinds, packed.images)
        states = self.network.model.language_model(
            inputs_embeds=inputs,
            position_ids=packed.position_ids.to(inputs.device),
            use_cache=False,
            layout=packed.layout,
        ).last_hidden_state
        return states[0].index_select(0, packed.ends.to(states.device))

    @torch.no_grad()
    def rewards(self, prompt: str, pictures: Sequence[np.ndarray]) -> list[float]:
        """Of drawings (H, W, 3) uint8 of one prompt."""
        rows = [RewardRow((judged_sequence(self.janus, prompt, picture),)) for picture in pictures]
        return self(reward_batch(self.janus, rows)).tolist()


def _verdict_head(janus: Janus) -> torch.nn.Linear:
    """The logit of “Yes” less that of “No”."""
    weight = janus.network.lm_head.weight
    dtype = torch.promote_types(weight.dtype, torch.float32)
    head = torch.nn.Linear(weight.shape[1], 1, device=weight.device, dtype=dtype)
    with torch.no_grad():
        head.weight.copy_((weight[janus.ids.yes] - weight[janus.ids.no])[None])
        head.bias.zero_()
    return head


def judged_sequence(janus: Janus, prompt: str, picture: np.ndarray) -> TrainingSequence:
    """A prompt, a drawing and the self-check; nothing of it is scored."""
    text = janus.prompts.read(prompt, Task.DRAW).text
    return TrainingSequence(
        (*prompt_pieces(janus, text), *image_pixel_pieces(janus, picture), *self_check_pieces(janus))
    )


def reward_row(janus: Janus, example: RewardExample, bounds: RowBounds) -> RewardRow:
    """Raises RowError for what cannot be learnt."""
    drawings = [example.drawing, *([example.rejected] if example.rejected else [])]
    pictures = [pixels(each.image.png, janus, bounds, number) for number, each in enumerate(drawings, start=1)]
    sequences = tuple(judged_sequence(janus, example.drawing.prompt, picture) for picture in pictures)
    return RewardRow(sequences, example.margin, example.score or 0.0, example.weight)


REWARD_ROWS = RowFormat(("reward", "image_pref"), RewardExample.from_row, reward_row)


def reward_batch(janus: Janus, rows: Sequence[RewardRow]) -> RewardBatch:
    sequences = [sequence for row in rows for sequence in row.sequences]
    counts = torch.tensor([len(row.sequences) for row in rows])
    first = counts.cumsum(0) - counts
    columns = (torch.tensor([getattr(row, name) for row in rows]) for name in ("margin", "score", "weight"))
    return RewardBatch(collate(janus, sequences), first, first + counts - 1, *columns)


def open_reward_network(folder: str | Path) -> RewardNetwork:
    """Open a reward model that `model.training.reward` saved. Raises CheckpointError for any other folder."""
    path = Path(path_of(folder)) / HEAD
    if not path.is_file():
        raise CheckpointError(f"{folder} is no reward model: it has no {HEAD}; train one by model.training.reward")
    janus = open_checkpoint(folder, dtype=torch.float32)
    try:
        tensors = load_file(path)
        head = torch.nn.Linear(tensors["weight"].shape[1], 1).to(janus.device)
        head.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, RuntimeError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged: {' '.join(str(error).split())[:300]}; train it again") from error
    return RewardNetwork(janus, head)

"""The whole circle on real parts: draw and judge, store, correct, export, train, and the better checkpoint says it."""

import io
from pathlib import Path

import numpy as np
import preloaded
import pytest
import torch
from PIL import Image as Picture
from tests_support import UNGUARDED, embed_pieces

from annotations.export.exporter import export
from annotations.schema.annotation import Annotation
from annotations.store.store import Store, open_store
from model.backends.checkpoint.loading import EMBEDDED
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.events import Preview, fold
from model.sequences import Text, image_pixel_pieces, prompt_pieces, self_check_pieces

NOUNS = ("cat", "dog", "tree", "house", "star", "heart", "apple", "car", "fish", "key")


def draw(janus: Janus, store: Store, prompt: str, seed: int) -> str:
    """One drawing and its reflection, stored; returns the trajectory's id."""
    events = list(rollout(janus, [Request(prompt, seed, rounds=1)]))
    trajectory = fold(events)
    pictures = [e.png for e in events if isinstance(e, Preview) and e.whole]
    named = {image.sha256: png for image, png in zip(trajectory.images, pictures, strict=True)}
    return store.save(trajectory, named, owner="visitor")


def correct(store: Store, trajectory_id: str, noun: str) -> str:
    """Say that the verdict was wrong and what was right; returns the text the model should learn to say."""
    trajectory = store.trajectory(trajectory_id)
    said = trajectory.reflections[0].answer
    reason = f"there is no {noun}." if said == "yes" else f"I see a {noun}."
    segment = trajectory.segments.index(trajectory.reflections[0])
    answers = {"verdict_right": "no", "reason_rating": 1, "reason_correction": reason}
    store.annotate(Annotation(trajectory_id, segment, "ann", answers))
    return f"No, {reason}" if said == "yes" else f"Yes, {reason}"


@torch.inference_mode()
def say(janus: Janus, store: Store, trajectory_id: str) -> str:
    """What a network says of a stored picture, greedily, read off plain passes without a cache."""
    trajectory = store.trajectory(trajectory_id)
    png = store.picture(trajectory.images[0].sha256)
    pieces = [
        *prompt_pieces(janus, trajectory.prompt),
        *image_pixel_pieces(janus, np.asarray(Picture.open(io.BytesIO(png)))),
    ]
    pieces, said = [*pieces, *self_check_pieces(janus)], []
    while janus.ids.eos not in said and len(said) < 30:
        inputs = embed_pieces(janus, [*pieces, Text(tuple(said))] if said else pieces)
        hidden = janus.network.model.language_model(inputs_embeds=inputs).last_hidden_state
        said.append(int(janus.text_logits(hidden[0, -1]).argmax()))
    return janus.tokenizer.decode(said, skip_special_tokens=True)


NETWORKS = [  # which network, how many nouns, steps, learning rate
    ("shipped", 3, 25, 8e-4),
    pytest.param("tiny", 10, 120, 3e-3, marks=pytest.mark.thorough),  # with random weights
]


@pytest.mark.parametrize(("which", "nouns", "steps", "rate"), NETWORKS)
def test_a_person_s_corrections_come_back_as_a_checkpoint_that_says_them(
    which: str, nouns: int, steps: int, rate: float, tiny_checkpoint: Path, tmp_path: Path
):
    """At least nine in ten verdicts, and eight in ten reasons."""
    corrected = NOUNS[:nouns]
    start = {"tiny": tiny_checkpoint, "shipped": EMBEDDED}[which]
    janus = open_checkpoint(start)
    with open_store(tmp_path / "data") as store:
        ids = {noun: draw(janus, store, f"a {noun}", seed) for seed, noun in enumerate(corrected)}
        wanted = {ids[noun]: correct(store, ids[noun], noun) for noun in corrected}
        manifest = export(store, "judge_sft", tmp_path / "export")
        assert manifest.examples == nouns

        command = ["-m", "model.training.sft", "--data", tmp_path / "export"]
        command += ["--checkpoint", start, "--out", tmp_path / "better"]
        command += [
            "--steps",
            str(steps),
            "--batch",
            str(nouns),
            "--learning-rate",
            str(rate),
            "--warmup",
            "5",
            *UNGUARDED,
        ]
        done = preloaded.run(*command)
        assert done.returncode == 0, done.stderr

        better = open_checkpoint(tmp_path / "better")
        found = {trajectory_id: say(better, store, trajectory_id) for trajectory_id in wanted}
        verdicts = sum(found[i].split(",")[0] == wanted[i].split(",")[0] for i in wanted)
        reasons = sum(found[i] == wanted[i] for i in wanted)
        assert verdicts >= 0.9 * nouns, found
        assert reasons >= 0.8 * nouns, found
        draw(better, store, "a cat", seed=99)
        assert store.counts().trajectories == nouns + 1

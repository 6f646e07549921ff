"""Fidelity of a checkpoint's image codec: random scenes encoded, decoded and read back by the verifier."""

import random
from collections.abc import Mapping

import numpy as np

from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.world.scene import random_scene, render
from model.world.verifier import Reading, read

AT_ONCE = 25  # scenes


def fidelity(checkpoints: Mapping[str, str], count: int) -> dict[str, dict[str, float]]:
    """`read_back` of `count` scenes for every checkpoint, by its name. Raises CheckpointError."""
    return {name: read_back(open_checkpoint(source), count) for name, source in checkpoints.items()}


def read_back(janus: Janus, count: int) -> dict[str, float]:
    """Of random scenes, after encode → decode: the share the verifier reads identically, PSNR in dB."""
    rng, right, errors = random.Random("read back"), 0, []
    for start in range(0, count, AT_ONCE):
        scenes = [random_scene(rng, rng.randint(1, 6)) for _ in range(min(AT_ONCE, count - start))]
        images = np.stack([render(scene) for scene in scenes])
        drawn = janus.decode(janus.encode(images))
        right += sum(read(image) == Reading(scene.items) for image, scene in zip(drawn, scenes, strict=True))
        errors += ((drawn.astype(float) - images) ** 2).mean((1, 2, 3)).tolist()
    return {"read_back": right / count, "psnr_db": float(10 * np.log10(255**2 / max(np.mean(errors), 1e-9)))}

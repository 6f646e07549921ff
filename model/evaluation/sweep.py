"""Grid search of a checkpoint's sampling settings: `python -m model.evaluation.sweep --checkpoint DIR`

Every setting of a grid draws the same prompts, of the training split, so that nothing is chosen on the test. `--write`
puts the best (by final images, then first drafts, then the calmer setting) into the checkpoint's generation config.
"""

import argparse
import itertools
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

from model.atomic_files import write_whole
from model.backends.checkpoint.loading import path_of
from model.backends.contract import Backend, CheckpointError
from model.backends.registry import DEFAULT, open_backend
from model.evaluation.bootstrap import Figure, interval
from model.evaluation.figures import figures, judge_all
from model.trajectory import Sampling
from model.world.language import Description
from model.world.splits import GENEVAL, HARD, sample_training

ROWS = ("first draft", "final image", "verdict, balanced")


def development_prompts(count: int) -> list[Description]:
    """Training prompts of every category in turn."""
    rng, categories = random.Random("development 0"), GENEVAL + HARD
    return [sample_training(rng, categories[i % len(categories)]) for i in range(count)]


def measured(
    backend: Backend, sampling: Sampling, descriptions: list[Description], rounds: int, batch: int
) -> dict[str, Figure]:
    judged = figures(judge_all(backend, descriptions, sampling, rounds, batch, seed=0))
    return {row: judged[row] for row in ROWS}


def write_settings(checkpoint: Path, sampling: Sampling) -> None:
    """Make `sampling` a checkpoint folder's own."""
    file = checkpoint / "generation_config.json"
    samples = max(sampling.temperature, sampling.text_temperature) > 0
    settings = json.loads(file.read_text("utf-8")) | {
        "do_sample": samples,
        "guidance_scale": sampling.guidance,
        "temperature": sampling.temperature if samples else 1.0,  # transformers saves no other one of what is greedy
        "text_temperature": sampling.text_temperature,
    }
    write_whole(file, json.dumps(settings, indent=2) + "\n", mode=0o644)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.evaluation.sweep", description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", default=DEFAULT, help="of the shipped ones, or a folder")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.0])
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.4, 0.7, 1.0], help="of image codes")
    parser.add_argument("--text-temperature", type=float, nargs="+", default=[0.4, 1.0])
    parser.add_argument("--prompts", type=int, default=98)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--without-thought", action="store_true", help="draw without thoughts")
    parser.add_argument("--write", action="store_true", help="make the best setting the checkpoint's own")
    arguments = parser.parse_args()
    try:
        backend = open_backend(arguments.checkpoint)
    except CheckpointError as error:
        sys.exit(f"sweep: {error}")
    descriptions, best = development_prompts(arguments.prompts), None
    thinks = backend.sampling.thinks and not arguments.without_thought
    print(f"{'guidance':>8}{'codes':>7}{'text':>6}" + "".join(f"{row:>22}" for row in ROWS))
    for guidance, codes, text in itertools.product(
        arguments.guidance, arguments.temperature, arguments.text_temperature
    ):
        sampling = replace(backend.sampling, guidance=guidance, temperature=codes, text_temperature=text, thinks=thinks)
        rows = measured(backend, sampling, descriptions, arguments.rounds, arguments.batch)
        shown = [
            "–" if figure.value is None else f"{figure.value:.1%} " + "{:.0%}–{:.0%}".format(*interval(figure))
            for figure in rows.values()
        ]
        print(f"{guidance:8.2f}{codes:7.2f}{text:6.2f}" + "".join(f"{cell:>22}" for cell in shown), flush=True)
        merit = (rows["final image"].value, rows["first draft"].value, -guidance, -codes)
        best = max(best or (merit, sampling), (merit, sampling), key=lambda pair: pair[0])
    print("best: guidance {0.guidance}, codes {0.temperature}, text {0.text_temperature}".format(best[1]))
    if arguments.write:
        write_settings(Path(path_of(arguments.checkpoint)), best[1])


if __name__ == "__main__":
    main()

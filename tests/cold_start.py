"""A process whose first drawing coincides with the loading of another checkpoint, as when Compare is opened first.

`python cold_start.py FIRST SECOND DATA` prints image codes and the hashes of the pictures of both as JSON.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from annotations.store.store import open_store
from model.backends.registry import open_backend
from model.decoding.load_for_inference import open_checkpoint
from model.events import fold
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator

PROMPT, SEED = "a red apple", 3


def main(first: str, second: str, data: str) -> None:
    with open_store(Path(data)) as store:
        checkpoints = Checkpoints(Generator(open_backend(first), store), [second])

        def draw(name: str) -> list:
            told = fold(checkpoints.named(name).stream(PROMPT, SEED, 1, owner="ada"))
            return [[list(image.codes), image.sha256] for image in told.images] + [told.reflections[0].text]

        def load() -> None:
            for _ in range(3):
                open_checkpoint(second)

        with ThreadPoolExecutor(3) as threads:
            loading = threads.submit(load)
            found = [*threads.map(draw, [Path(first).name, Path(second).name])]
            loading.result()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

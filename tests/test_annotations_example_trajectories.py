"""The examples of the first start: collected from files, stored once, marked as recorded."""

import json
from pathlib import Path

from test_annotations_samples import aha

from annotations.ops.example_trajectories import FILE, collect, fill_if_empty, read
from annotations.store.store import open_store


def written(folder: Path, number: int) -> None:
    """A trajectory as `model.generate` leaves it."""
    trajectory, pictures = aha(number, id=f"t{number}")
    folder.mkdir(parents=True)
    (folder / "trajectory.json").write_text(json.dumps(trajectory.to_dict()), "utf-8")
    for place, image in enumerate(trajectory.images, start=1):
        (folder / f"image-{place}.png").write_bytes(pictures[image.sha256])


def test_what_was_generated_fills_an_empty_store_once(tmp_path: Path):
    for number in range(3):
        written(tmp_path / "out" / str(number), number)
    file = tmp_path / "recorded.jsonl"
    assert collect(tmp_path / "out", file) == 3
    with open_store(tmp_path / "data") as store:
        assert fill_if_empty(store, file) == 3
        assert fill_if_empty(store, file) == 0
        listed = store.trajectories()
        assert len(listed) == 3
        assert all(one.recorded for one in listed)
        assert store.trajectory("t1") == aha(1)[0]
        assert store.picture(listed[0].cover)


def test_no_file_is_no_example(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        assert fill_if_empty(store, tmp_path / "nothing.jsonl") == 0


def test_the_shipped_examples_fill_a_store_and_are_about_sixty(tmp_path: Path):
    shipped = list(read(FILE))
    with open_store(tmp_path / "data") as store:
        assert 50 <= fill_if_empty(store) == len(shipped) <= 80
    for trajectory, pictures in shipped:
        assert {image.sha256 for image in trajectory.images} == set(pictures)
        assert trajectory.reflections

"""Events and trajectory are inverse; both survive JSON; replaying needs the stored picture and nothing else."""

import io
import json
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture

from model.events import (
    Failed,
    ImageCodesAdded,
    Preview,
    SegmentStarted,
    TextAdded,
    TrajectoryFinished,
    fold,
    from_dict,
    replay,
)
from model.images import encode_png
from model.trajectory import (
    Image,
    Origin,
    Parent,
    Reflection,
    Sampling,
    Segment,
    Source,
    StopReason,
    Thought,
    Token,
    Trajectory,
)


def random_trajectory(rng: random.Random) -> Trajectory:
    """Any trajectory a rollout could leave behind, stopped and failed ones too."""
    segments = [Source(tuple(rng.choices(range(9), k=16)), "s" * 64)] if rng.random() < 0.3 else []
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.6:
            segments.append(Thought(tokens(rng)))
        segments.append(Image(tuple(rng.choices(range(9), k=16)), "a" * 64, origins(rng, 16)))
        segments.append(Reflection(rng.choice(["yes", "no"]), rng.random(), tokens(rng)))
    ending = rng.choice(list(StopReason))
    if ending in (StopReason.CANCELLED, StopReason.FAILED) and rng.random() < 0.7:
        cut = rng.randint(1, 15)
        segments.append(Image(tuple(rng.choices(range(9), k=cut)), None, origins(rng, cut), finished=False))
    return Trajectory(
        prompt="zwei rote Äpfel 🍎",
        seed=rng.getrandbits(40),
        rounds=3,
        sampling=Sampling(guidance=2.5, top_k=rng.choice([None, 7]), thinks=True),
        checkpoint="tiny",
        segments=tuple(segments),
        stop_reason=ending,
        error="RuntimeError: out of memory" if ending is StopReason.FAILED else None,
        parent=Parent("p", 2, 5) if rng.random() < 0.3 else None,
        id="t1",
        times_ms=tuple(range(len(segments))),
    )


def tokens(rng: random.Random) -> tuple[Token, ...]:
    return tuple(
        Token(i, rng.choice(["No", ", ", "ä", ""]), rng.choice(list(Origin))) for i in range(rng.randint(1, 5))
    )


def origins(rng: random.Random, count: int) -> tuple[Origin, ...]:
    return tuple(rng.choices([Origin.SAMPLED, Origin.SAMPLED, Origin.PERSON], k=count))


def test_folding_a_replay_gives_the_trajectory_back():
    rng = random.Random(0)
    for _ in range(200):
        trajectory = random_trajectory(rng)
        assert fold(replay(trajectory)) == trajectory


def test_every_event_survives_json():
    rng = random.Random(1)
    for _ in range(50):
        events = list(replay(random_trajectory(rng)))
        again = [from_dict(json.loads(json.dumps(event.to_dict()))) for event in events]
        assert again == events


def test_a_trajectory_survives_json():
    rng = random.Random(2)
    for _ in range(100):
        trajectory = random_trajectory(rng)
        again = Trajectory.from_dict(json.loads(json.dumps(trajectory.to_dict())))
        assert again == trajectory
        assert (again.id, again.times_ms) == (trajectory.id, trajectory.times_ms)


def test_settings_keep_their_keys_in_json_and_are_read_by_their_names_too():
    settings = Sampling(published_contexts=True)
    assert (
        settings.to_dict() | {"official": True} == settings.to_dict() and "published_contexts" not in settings.to_dict()
    )
    assert Sampling.from_dict({"official": True}) == Sampling.from_dict({"published_contexts": True}) == settings


def test_ids_and_times_do_not_make_trajectories_differ():
    trajectory = random_trajectory(random.Random(3))
    assert replace(trajectory, id="other", created_at="2030-01-01", times_ms=(9,)) == trajectory


def test_replay_reveals_the_cells_of_the_stored_picture_in_code_order():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    png = encode_png(Picture.fromarray(pixels))
    trajectory = Trajectory("a cat", 0, 1, Sampling(), "tiny", (Image(tuple(range(16)), "h", (Origin.SAMPLED,) * 16),))
    canvas = np.zeros_like(pixels)
    for event in replay(trajectory, lambda sha256: png, group=3):
        if isinstance(event, Preview) and not event.whole:
            cells = np.asarray(Picture.open(io.BytesIO(event.png)))
            row, column = divmod(event.start, 4)
            canvas[row * 8 : row * 8 + 8, column * 8 : column * 8 + cells.shape[1]] = cells
    assert (canvas == pixels).all()


def test_previews_leave_no_trace_in_the_trajectory():
    events = list(replay(random_trajectory(random.Random(4))))
    preview = Preview(trajectory_id="t1", segment=0, png=b"png", count=1)
    assert fold([events[0], preview, *events[1:]]) == fold(events)


def test_the_part_told_so_far_is_an_unfinished_trajectory():
    events = list(replay(random_trajectory(random.Random(5))))
    drawn = next(i for i, event in enumerate(events) if isinstance(event, ImageCodesAdded))
    sofar = fold(events[: drawn + 1])
    assert sofar.stop_reason is None
    assert not sofar.segments[-1].finished


def test_a_failure_keeps_what_was_done_before_it():
    trajectory = random_trajectory(random.Random(6))
    events = [event for event in replay(trajectory) if not isinstance(event, Failed | TrajectoryFinished)]
    failed = fold([*events, Failed(trajectory_id="t1", segment=0, error="disk full")])
    assert failed.segments == trajectory.segments
    assert (failed.stop_reason, failed.error) == (StopReason.FAILED, "disk full")


def test_an_aha_moment_is_the_models_own_no_another_drawing_and_a_yes():
    no, yes = Reflection("no", 0.1, (Token(1, "No"),)), Reflection("yes", 0.9)
    persons = Reflection("no", 0.1, (Token(1, "No"), Token(2, ", redder", Origin.PERSON)))
    draft, revision = Image((1,), "d"), Image((2,), "r")

    def aha(*segments: Segment) -> int | None:
        return replace(random_trajectory(random.Random(7)), segments=segments).aha_segment

    assert aha(draft, no, revision, yes) == 3
    assert aha(draft, no, revision, no, draft, yes) == 5
    assert aha(draft, yes) is None
    assert aha(draft, no, revision, no) is None
    assert aha(draft, no, draft, yes) is None
    assert aha(draft, persons, revision, yes) is None
    overruled = Reflection("yes", 0.1, (Token(1, "Yes"), Token(2, ", fine", Origin.PERSON)))
    assert aha(draft, no, revision, overruled) is None


def test_events_out_of_order_are_refused_with_a_reason():
    with pytest.raises(ValueError, match="trajectory started"):
        fold([SegmentStarted(trajectory_id="t", segment=0, kind="image")])
    with pytest.raises(ValueError, match="no events"):
        fold([])
    with pytest.raises(ValueError, match="“dance” is not an event"):
        from_dict({"event": "dance"})


def test_text_added_says_its_text():
    event = TextAdded(trajectory_id="t", segment=0, tokens=(Token(1, "No"), Token(2, ", the car")))
    assert event.text == "No, the car"

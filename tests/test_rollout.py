"""The one decode loop: alone or in a batch, with guidance or without, stopped or failing."""

import hashlib
import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from tests_support import embed_pieces
from thoroughness import few

from model.backends.janus import Janus
from model.backends.request import Request, RequestError, Task
from model.decoding import grammar
from model.decoding.decoder import Decoder
from model.decoding.rollout import rollout
from model.events import (
    Failed,
    FrameAdded,
    ImageCodesAdded,
    Preview,
    TextAdded,
    TrajectoryFinished,
    Verdict,
    fold,
    replay,
)
from model.images import encode_png, read_rgb
from model.sequences import (
    Codes,
    Text,
    edit_prompt_pieces,
    image_pixel_pieces,
    prompt_pieces,
    redraw_prompt_pieces,
    segment_pieces,
    self_check_pieces,
    unconditional,
)
from model.templates import BEGIN_IMAGE
from model.trajectory import Image, Origin, Parent, StopReason, Thought, Token, Trajectory
from model.world.plan import read_plan
from model.world.scene import render

PROMPTS = ["a cat", "two red apples above a blue car", "three stars", "a dog and a pink house"]


def trajectories(events) -> dict[str, Trajectory]:
    by_id: dict[str, list] = {}
    for event in events:
        by_id.setdefault(event.trajectory_id, []).append(event)
    return {key: fold(mine) for key, mine in by_id.items()}


def requests(janus: Janus, count: int, **changes: object) -> list[Request]:
    sampling = replace(janus.sampling, **changes)
    return [
        Request(PROMPTS[i % len(PROMPTS)], seed=i, rounds=1 + i % 3, sampling=sampling, preview_every=None, id=str(i))
        for i in range(count)
    ]


def test_the_same_seed_gives_the_same_trajectory(tiny: Janus):
    one, other = (fold(rollout(tiny, [Request("a cat", seed=7, rounds=2)])) for _ in range(2))
    assert one == other
    assert one != fold(rollout(tiny, [Request("a cat", seed=8, rounds=2)]))


@pytest.mark.parametrize("guidance", few([1.0, 3.0], 1))
def test_a_batch_gives_each_request_the_trajectory_it_has_alone(tiny: Janus, guidance: float):
    wanted = requests(tiny, 5, guidance=guidance)
    together = trajectories(rollout(tiny, wanted, at_once=5))
    for request in wanted:
        alone = fold(rollout(tiny, [request]))
        assert together[request.id] == alone


def test_requests_beyond_the_batch_wait_and_join(tiny: Janus):
    wanted = requests(tiny, 5)
    few, many = (trajectories(rollout(tiny, wanted, at_once=n)) for n in (2, 5))
    assert few == many


def test_a_checkpoint_that_does_not_think_goes_straight_to_the_image(tiny: Janus):
    kinds = [s.kind for s in fold(rollout(tiny, requests(tiny, 1, thinks=False))).segments]
    assert kinds[:2] == ["image", "reflection"]
    kinds = [s.kind for s in fold(rollout(tiny, requests(tiny, 1, thinks=True))).segments]
    assert kinds[:3] == ["thought", "image", "reflection"]


def test_it_ends_with_the_first_yes_or_with_the_last_round(tiny: Janus):
    for trajectory in trajectories(rollout(tiny, requests(tiny, 12, thinks=False), at_once=12)).values():
        answers = [r.answer for r in trajectory.reflections]
        assert answers[:-1] == ["no"] * (len(answers) - 1)
        if trajectory.stop_reason is StopReason.CONTENT:
            assert answers[-1] == "yes"
        else:
            assert trajectory.stop_reason is StopReason.ROUNDS
            assert (answers[-1], len(answers)) == ("no", trajectory.rounds)


def test_a_verdict_is_sampled_as_often_as_p_yes_says(tiny: Janus):
    source = render(read_plan("red apple at 2 3"))
    many = [replace(r, task=Task.JUDGE, source=source, seed=100 + i) for i, r in enumerate(requests(tiny, 60))]
    verdicts = [e for e in rollout(tiny, many, at_once=30) if isinstance(e, Verdict)]
    expected = sum(v.p_yes for v in verdicts)
    spread = sum(v.p_yes * (1 - v.p_yes) for v in verdicts) ** 0.5
    assert abs(sum(v.answer == "yes" for v in verdicts) - expected) < 4 * spread


def test_greedy_decoding_does_not_depend_on_the_seed(tiny: Janus):
    greedy = replace(tiny.sampling, temperature=0.0, text_temperature=0.0)
    one, other = (fold(rollout(tiny, [Request("a cat", seed=s, rounds=1, sampling=greedy)])) for s in (1, 2))
    assert one.segments == other.segments


def test_previews_show_each_cell_once_in_order_and_then_the_whole_picture(tiny: Janus):
    events = list(rollout(tiny, [Request("a cat", rounds=1)]))
    *previews, whole = [e for e in events if isinstance(e, Preview)]
    at = 0
    for preview in previews:
        assert preview.start == at
        assert preview.start // 8 == (preview.start + preview.count - 1) // 8
        assert Picture.open(io.BytesIO(preview.png)).size == (8 * preview.count, 8)
        drawn = [e for e in events[: events.index(preview)] if isinstance(e, ImageCodesAdded)]
        at += preview.count
        assert at <= sum(len(e.codes) for e in drawn)
    assert at == 64
    assert whole.whole
    assert Picture.open(io.BytesIO(whole.png)).size == (64, 64)


def test_stop_ends_one_request_between_tokens_and_leaves_the_others(tiny: Janus):
    asked = itertools.count()
    stopped = replace(requests(tiny, 1)[0], stop=lambda: next(asked) > 30, id="stopped")
    ended = trajectories(rollout(tiny, [stopped, *requests(tiny, 3)[1:]]))
    assert ended["stopped"].stop_reason is StopReason.CANCELLED
    assert not ended["stopped"].segments[-1].finished
    assert ended["1"] == fold(rollout(tiny, [requests(tiny, 3)[1]]))


def test_of_an_image_that_is_stopped_there_is_a_frame_white_where_nothing_was_drawn(tiny: Janus):
    plain = replace(tiny.sampling, thinks=False)
    for preview_every, frames in ((4, 1), (None, 0)):
        asked = itertools.count()
        stopped = Request(
            "a cat", rounds=1, sampling=plain, preview_every=preview_every, stop=lambda asked=asked: next(asked) > 30
        )
        events = list(rollout(tiny, [stopped]))
        [image] = fold(events).images
        assert image.sha256 is None and not image.finished and 8 < len(image.codes) < 56
        shown = [event for event in events if isinstance(event, FrameAdded)]
        assert image.frames == tuple(event.sha256 for event in shown) and len(shown) == frames
        for event in shown:
            cells = np.asarray(read_rgb(event.png)).reshape(8, 8, 8, 8, 3).swapaxes(1, 2).reshape(64, -1)
            drawn = (cells < 255).any(1)
            assert drawn[: len(image.codes)].all() and not drawn[len(image.codes) :].any()
            assert event.share == len(image.codes) / 64


def test_an_error_in_a_step_is_recorded_with_what_was_drawn(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    steps, real = itertools.count(), Decoder._advance

    def breaks_later(*arguments: object):
        if next(steps) == 40:
            raise RuntimeError("out of memory")
        return real(*arguments)

    monkeypatch.setattr(Decoder, "_advance", breaks_later)
    events = list(rollout(tiny, requests(tiny, 1)))
    assert isinstance(events[-1], Failed)
    failed = fold(events)
    assert failed.error == "RuntimeError: out of memory"
    assert failed.segments


def test_an_image_that_cannot_be_painted_fails_with_its_codes_and_a_preview_does_not_matter(
    tiny: Janus, monkeypatch: pytest.MonkeyPatch
):
    def full(janus: Janus, codes: object) -> None:
        raise MemoryError("no room for pixels")

    monkeypatch.setattr(Janus, "decode", full)
    monkeypatch.setattr(Janus, "blank_code", 0)
    failed = fold(rollout(tiny, requests(tiny, 1)))
    assert failed.error == "MemoryError: no room for pixels"
    assert len(failed.images[0].codes) == tiny.image_codes


def test_reflections_stay_within_their_limit_and_text_arrives_token_by_token(
    tiny: Janus, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(grammar, "MOST_REFLECTION_TOKENS", 9)
    events = list(rollout(tiny, requests(tiny, 3)))
    assert all(len(e.tokens) == 1 for e in events if isinstance(e, TextAdded))
    reflections = [r for t in trajectories(events).values() for r in t.reflections]
    assert min(len(r.tokens) for r in reflections) >= 1 and max(len(r.tokens) for r in reflections) == 9
    assert all(r.text.startswith({"yes": "Yes", "no": "No"}[r.answer]) for r in reflections)


@pytest.mark.parametrize(
    ("prompt", "message"), [("  ", "empty"), ("cat " * 2500, "10,000 characters"), ("zq" * 300, "tokens")]
)
def test_a_prompt_that_cannot_be_read_is_refused_before_anything_is_drawn(tiny: Janus, prompt: str, message: str):
    with pytest.raises(RequestError, match=message):
        next(rollout(tiny, [Request(prompt)]))


def test_no_request_gives_no_event(tiny: Janus):
    assert list(rollout(tiny, [])) == []


@torch.inference_mode()
def test_what_was_sampled_is_the_best_of_one_plain_pass_over_the_whole_sequence(tiny: Janus):
    """Greedy, with guidance: the cached, batched steps against a forward pass without any cache."""
    sampling = replace(tiny.sampling, temperature=0.0, text_temperature=0.0, guidance=2.0)
    events = list(rollout(tiny, [Request("a dog", seed=0, rounds=2, sampling=sampling)]))
    trajectory = fold(events)
    pictures = [np.asarray(Picture.open(io.BytesIO(e.png))) for e in events if isinstance(e, Preview) and e.whole]
    pieces, seen, number = prompt_pieces(tiny, "a dog"), prompt_pieces(tiny, "a dog"), 0
    for segment in trajectory.segments:
        if segment.kind == "thought":
            pieces += segment_pieces(tiny, segment)
        elif segment.kind == "image":
            pieces += [Text(tuple(tiny.tokenize(BEGIN_IMAGE)))]
            expected = plain_image_logits(tiny, pieces, segment.codes, 2.0).argmax(-1).tolist()
            assert tuple(expected) == segment.codes
            pieces += [Codes(segment.codes)]
            seen += image_pixel_pieces(tiny, pictures[number])
            number += 1
        else:
            logits = plain_logits(tiny, [*seen, *self_check_pieces(tiny)])
            p_yes = torch.softmax(logits[[tiny.ids.yes, tiny.ids.no]], 0)[0].item()
            assert segment.p_yes == pytest.approx(p_yes, abs=1e-9)
            said = [*self_check_pieces(tiny), Text(tuple(t.id for t in segment.tokens)), *redraw_prompt_pieces(tiny)]
            pieces, seen = pieces + said, seen + said
    assert number == len(trajectory.images)


def plain_logits(janus: Janus, pieces) -> torch.Tensor:
    model = janus.network.model.language_model
    return janus.text_logits(model(inputs_embeds=embed_pieces(janus, pieces)).last_hidden_state[0, -1])


def plain_image_logits(janus: Janus, pieces, codes: tuple[int, ...], guidance: float) -> torch.Tensor:
    """(N, V) guided logits of every code given those before it."""
    model, branches = janus.network.model.language_model, []
    for branch in (pieces, unconditional(pieces, janus.ids.pad)):
        hidden = model(inputs_embeds=embed_pieces(janus, [*branch, Codes(codes)])).last_hidden_state[0]
        branches.append(janus.image_logits(hidden[-len(codes) - 1 : -1]))
    return branches[1] + guidance * (branches[0] - branches[1])


def test_cancelling_the_generator_stops_everything(tiny: Janus):
    events = rollout(tiny, requests(tiny, 2))
    seen = list(itertools.islice(events, 20))
    events.close()
    assert not any(isinstance(e, TrajectoryFinished) for e in seen)
    assert next(events, None) is None


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_an_edit_is_its_source_a_thought_and_an_image_that_is_not_judged(tiny: Janus, guidance: float):
    source = render(read_plan("red apple at 2 3"))
    sampling = replace(tiny.sampling, thinks=True, guidance=guidance)
    events = list(rollout(tiny, [Request("make the apple blue", sampling=sampling, task=Task.EDIT, source=source)]))
    edited = fold(events)
    assert [segment.kind for segment in edited.segments] == ["source", "thought", "image"]
    assert edited.segments[0].codes == tuple(tiny.encode([source])[0].tolist())
    assert edited.stop_reason is StopReason.EDITED
    shown = {hashlib.sha256(e.png).hexdigest(): e.png for e in events if isinstance(e, Preview) and e.whole}
    assert np.array_equal(np.asarray(Picture.open(io.BytesIO(shown[edited.segments[0].sha256]))), source)
    assert fold(replay(edited, shown.__getitem__)) == edited


def test_an_image_is_judged_as_the_same_drawing_would_be(tiny: Janus):
    events = list(rollout(tiny, [Request("a cat", sampling=replace(tiny.sampling, thinks=False), rounds=1)]))
    drawn = fold(events)
    [png] = [event.png for event in events if isinstance(event, Preview) and event.whole]
    picture = np.asarray(Picture.open(io.BytesIO(png)))
    judged = fold(rollout(tiny, [Request("a cat", task=Task.JUDGE, source=picture)]))
    assert [segment.kind for segment in judged.segments] == ["source", "reflection"]
    assert judged.segments[0].sha256 == drawn.images[0].sha256
    assert judged.reflections[0].p_yes == pytest.approx(drawn.reflections[0].p_yes, abs=1e-9)
    assert judged.stop_reason is StopReason.JUDGED


def test_greedy_edited_codes_are_those_of_one_plain_pass_over_source_instruction_and_image(tiny: Janus):
    source = render(read_plan("red apple at 2 3"))
    greedy = replace(tiny.sampling, thinks=False, temperature=0.0)
    edited = fold(rollout(tiny, [Request("make the apple blue", sampling=greedy, task=Task.EDIT, source=source)]))
    [image] = edited.images
    pieces = [
        *edit_prompt_pieces(tiny, "make the apple blue", edited.segments[0].codes),
        Text(tuple(tiny.tokenize(BEGIN_IMAGE))),
    ]
    embedded = embed_pieces(tiny, [*pieces, Codes(image.codes)])
    hidden = tiny.network.model.language_model(inputs_embeds=embedded).last_hidden_state
    codes = tiny.image_logits(hidden[0, -len(image.codes) - 1 : -1]).argmax(-1)
    assert tuple(codes.tolist()) == image.codes


def test_a_branch_goes_on_from_what_is_given_as_the_whole_would_have(tiny: Janus):
    """Greedy: cut a trajectory after any segment, and the rest comes again."""
    greedy = replace(tiny.sampling, thinks=True, temperature=0.0, text_temperature=0.0)
    whole = Request("a dog above a cat", rounds=2, sampling=greedy, preview_every=None)
    events = list(rollout(tiny, [whole]))
    trajectory = fold(events)
    pictures = {hashlib.sha256(e.png).hexdigest(): e.png for e in events if isinstance(e, Preview) and e.whole}
    for cut in range(1, len(trajectory.segments) + 1):
        parent = Parent(trajectory.id, cut - 1, 0)
        given = replace(whole, prefix=trajectory.segments[:cut], pictures=pictures, parent=parent)
        branch = fold(rollout(tiny, [given]))
        assert branch == replace(trajectory, parent=parent)


def test_a_given_thought_is_what_the_image_is_drawn_after(tiny: Janus):
    sampling = replace(tiny.sampling, thinks=True)
    words = tiny.tokenize(" red apple at 2 3")
    thought = Thought(tuple(Token(i, tiny.tokenizer.decode([i]), Origin.PERSON) for i in words))
    branch = fold(rollout(tiny, [Request("an apple", rounds=1, sampling=sampling, prefix=(thought,))]))
    assert branch.segments[0] == thought
    assert branch.segments[1].kind == "image"
    assert branch.segments[1] != fold(rollout(tiny, [Request("an apple", rounds=1, sampling=sampling)])).segments[1]


def test_a_given_picture_is_judged_as_it_is_and_not_as_its_codes_would_paint_it(tiny: Janus):
    sampling = replace(tiny.sampling, thinks=False)
    verdicts = []
    for plan in ("red apple at 2 3", "blue car at 0 0"):
        png = encode_png(Picture.fromarray(render(read_plan(plan))))
        image = Image((0,) * 64, hashlib.sha256(png).hexdigest(), (Origin.TEMPLATE,) * 64)
        request = Request("an apple", rounds=1, sampling=sampling, prefix=(image,), pictures={image.sha256: png})
        verdicts.append(fold(rollout(tiny, [request])).reflections[0].p_yes)
    assert verdicts[0] != verdicts[1]

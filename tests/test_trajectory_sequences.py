"""Log-probabilities for training are those of the distributions that the rollout drew from."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from model.backends.janus import Janus
from model.backends.request import Request, Task
from model.decoding.decoder import Decoder
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.decoding.sampling import Rule, log_probabilities
from model.events import Preview, fold
from model.examples import DrawnExample, JudgeExample, StoredImage, ThoughtExample
from model.images import encode_png
from model.training.batch import collate, length
from model.training.dataset import drawn_sequence, sequence_of, thought_sequence
from model.training.policy import Policy
from model.training.rewards.reward_network import RewardNetwork
from model.training.training_sequences import MODEL_DISTRIBUTION, TokenKind, TrainingSequence, draw
from model.training.trajectory_sequences import trajectory_sequences, verdict_log_prob
from model.trajectory import Origin, Sampling
from model.world.plan import read_plan
from model.world.scene import render


@pytest.fixture(scope="module")
def single(tiny_checkpoint) -> Janus:
    """The tiny checkpoint in float32, as it is trained."""
    return open_checkpoint(tiny_checkpoint, dtype=torch.float32)


@pytest.fixture(scope="module")
def embedded() -> Janus:
    """The shipped checkpoint, which writes words that are tokenised as they were."""
    return open_checkpoint("embedded", dtype=torch.float32)


def rolled_out(janus: Janus, request: Request, monkeypatch: pytest.MonkeyPatch, rule: Rule | None = None):
    """The trajectory, its pictures by hash, and the log-probability of every token as it was drawn, or under `rule`."""
    drawn, real = [], Decoder.advance

    def listening(decoder, steps, generators):
        results = real(decoder, steps, generators)
        for step, result in zip(steps, results, strict=True):
            drawn.append(log_probabilities(result.logits, rule or step.rule)[result.token].item())
        return results

    monkeypatch.setattr(Decoder, "advance", listening)
    events = list(rollout(janus, [request]))
    pngs = [event.png for event in events if isinstance(event, Preview) and event.whole]
    pictures = {hashlib.sha256(png).hexdigest(): np.asarray(Picture.open(io.BytesIO(png))) for png in pngs}
    return fold(events), pictures, drawn


SAMPLINGS = [
    {"thinks": True},
    {"thinks": False, "temperature": 0.7, "text_temperature": 1.5},
    {"thinks": True, "guidance": 3.0, "top_k": 50, "text_top_k": 20},
]


@torch.no_grad()
@pytest.mark.parametrize("changes", SAMPLINGS, ids=str)
@pytest.mark.parametrize("task", Task)
def test_teacher_forced_log_probabilities_are_those_of_the_rollout(single: Janus, monkeypatch, changes, task):
    image = None if task is Task.DRAW else render(read_plan("red apple at 2 3"))
    sampling = replace(single.sampling, **changes)
    request = Request("two red apples above a car", 3, 2, sampling, task=task, source=image)
    trajectory, pictures, drawn = rolled_out(single, request, monkeypatch)
    streams = [stream for stream in trajectory_sequences(single, trajectory, pictures) if stream.target_count]
    found = Policy(single)(collate(single, streams)).log_probs
    assert len(found) == len(drawn)
    assert torch.allclose(found.sort().values, torch.tensor(drawn).sort().values, atol=1e-4)
    assert found.sum().item() == pytest.approx(sum(drawn), abs=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("thinks", [True, False])
def test_what_every_method_scores_is_what_the_rollout_computed(embedded: Janus, monkeypatch, thinks: bool):
    """Of the same tokens, by the model's own distribution: supervised fine-tuning, DPO and KTO on plans, drawings and
    reflections; a reward model before its first step."""
    prompt, sampling = "two red apples above a car", Sampling(thinks=thinks)
    request = Request(prompt, 3, 1, sampling)
    trajectory, pictures, drawn = rolled_out(embedded, request, monkeypatch, MODEL_DISTRIBUTION)
    image, reflection = trajectory.images[0], trajectory.reflections[0]
    (picture,) = pictures.values()
    png = encode_png(Picture.fromarray(picture))
    judged = sequence_of(embedded, JudgeExample(prompt, (png,), (), reflection.text))
    if thinks:
        thought = thought_sequence(embedded, ThoughtExample(prompt, None, (), trajectory.segments[0].text))
        codes = draw(embedded, prompt, (), trajectory.segments[0].text, image.codes, given=True)
        sequences = [thought, codes, judged]
    else:
        sequences = [drawn_sequence(embedded, DrawnExample(prompt, StoredImage(png, image.codes))), judged]
    at, policy = 0, Policy(embedded)
    for sequence in sequences:
        batch = collate(embedded, [sequence])
        own = policy(batch).log_probs[batch.positions.argsort()]
        assert torch.allclose(own, torch.tensor(drawn[at : at + len(own)]), atol=1e-4)
        at += len(own)
    assert at == len(drawn)
    reward = RewardNetwork(embedded).rewards(prompt, [picture])[0]
    assert torch.tensor(reward).sigmoid().item() == pytest.approx(reflection.p_yes, abs=1e-4)
    assert verdict_log_prob(reflection, sampling) == pytest.approx(
        np.log(reflection.p_yes if reflection.answer == "yes" else 1 - reflection.p_yes), abs=1e-6
    )


def scored(sequence: TrainingSequence, segment: int, *, code: bool) -> list[int]:
    """The scored codes, or the scored text, of a segment, in order."""
    pairs = [
        pair
        for targets in sequence.targets
        if targets.segment == segment and (targets.kind is TokenKind.CODE) is code
        for pair in zip(targets.positions, targets.tokens, strict=True)
    ]
    return [token for _, token in sorted(pairs)]


def test_every_token_is_scored_in_its_own_segment(single: Janus, monkeypatch):
    request = Request("a cat", seed=1, rounds=2, sampling=replace(single.sampling, thinks=True))
    trajectory, pictures, _ = rolled_out(single, request, monkeypatch)
    to_draw, to_judge = trajectory_sequences(single, trajectory, pictures)
    for index, segment in enumerate(trajectory.segments):
        codes = scored(to_draw, index, code=True)
        said = scored(to_draw, index, code=False) + scored(to_judge, index, code=False)
        if segment.kind == "image":
            assert tuple(codes) == segment.codes
        else:
            tokens = [token.id for token in segment.tokens]
            assert said[: len(tokens)] == tokens
            assert codes == []


def test_what_a_person_wrote_is_context_and_no_action(single: Janus, monkeypatch):
    request = Request("a cat", seed=1, rounds=1, sampling=replace(single.sampling, thinks=True))
    trajectory, pictures, _ = rolled_out(single, request, monkeypatch)
    thought = trajectory.segments[0]
    written = replace(thought, tokens=tuple(token._replace(origin=Origin.PERSON) for token in thought.tokens))
    edited = replace(trajectory, segments=(written, *trajectory.segments[1:]))
    to_draw, _ = trajectory_sequences(single, edited, pictures)
    assert not any(scored(to_draw, index, code=False) for index in range(len(edited.segments)))
    whole, _ = trajectory_sequences(single, trajectory, pictures)
    assert length(to_draw, single.image_codes) == length(whole, single.image_codes)
    assert len(scored(to_draw, 1, code=True)) == single.image_codes


def test_what_was_drawn_with_the_published_codes_contexts_is_not_scored(tiny: Janus):
    sampling = replace(tiny.sampling, published_contexts=True)
    trajectory = fold(rollout(tiny, [Request("two cars", 1, 1, sampling)]))
    with pytest.raises(ValueError, match="published code's contexts cannot be scored"):
        trajectory_sequences(tiny, trajectory, {})

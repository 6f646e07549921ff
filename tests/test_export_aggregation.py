"""From what several people said to labels: equal to crowd-kit's, better than any single person, never by chance."""

import hashlib
import random

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene, MajorityVote
from PIL import Image as Picture
from test_annotations_samples import aha, judged

from annotations.export.aggregate.dawid_skene import dawid_skene
from annotations.export.aggregate.votes import vote
from annotations.export.annotated_trajectories import annotated_trajectories
from annotations.export.exporter import export
from annotations.export.labels.judge_targets import JudgeExclusion
from annotations.export.preview import survey
from annotations.export.query import Aggregation, Query
from annotations.export.store_context import StoreContext
from annotations.queue.review import decide
from annotations.store.store import open_store
from model.images import encode_png
from model.training.rewards.verifier import fit
from model.trajectory import Image, Reflection, Sampling, StopReason, Token, Trajectory
from model.world import verifier
from model.world.language import write
from model.world.random_scenes import sample_description, sample_scene
from model.world.scene import render

# Dawid and Skene (1979), table 1: five observers, of whom the first saw each patient three times (here: once).
PATIENTS = [
    (1, 1, 1, 1, 1), (3, 4, 3, 3, 4), (1, 1, 2, 1, 2), (2, 2, 4, 1, 2), (2, 2, 2, 1, 1), (2, 3, 3, 3, 2),
    (1, 2, 1, 1, 1), (3, 3, 4, 3, 3), (2, 2, 2, 2, 3), (2, 3, 2, 2, 3), (4, 4, 4, 4, 4), (2, 3, 3, 4, 3),
    (1, 1, 2, 1, 1), (2, 2, 3, 2, 1), (1, 1, 1, 1, 2), (1, 1, 2, 1, 1), (1, 1, 1, 1, 1), (1, 1, 1, 1, 1),
    (2, 2, 2, 2, 1), (2, 1, 3, 2, 2), (2, 2, 2, 2, 2), (2, 2, 2, 2, 1), (2, 2, 3, 2, 2), (2, 2, 2, 2, 1),
    (1, 1, 1, 1, 1), (1, 1, 1, 1, 1), (2, 3, 2, 2, 2), (1, 1, 1, 1, 1), (1, 1, 1, 1, 1), (1, 1, 2, 1, 1),
    (1, 1, 1, 1, 1), (3, 3, 2, 3, 3), (1, 1, 1, 1, 1), (2, 2, 2, 2, 2), (2, 2, 2, 2, 3), (4, 3, 3, 4, 3),
    (2, 2, 1, 2, 2), (2, 3, 2, 3, 2), (3, 3, 3, 3, 4), (1, 1, 1, 1, 1), (1, 1, 1, 1, 1), (1, 2, 1, 2, 1),
    (2, 3, 2, 2, 2), (1, 2, 1, 1, 1), (2, 2, 2, 2, 2),
]  # fmt: skip
VOTES = [(patient, f"observer {n}", label) for patient, row in enumerate(PATIENTS) for n, label in enumerate(row)]


def test_dawid_skene_and_majority_are_crowd_kits_on_the_papers_patients():
    frame = pd.DataFrame(VOTES, columns=["task", "worker", "label"])
    theirs = DawidSkene(n_iter=100).fit_predict_proba(frame)
    ours = dawid_skene(VOTES)
    for patient in range(len(PATIENTS)):
        assert dict(ours[patient].shares) == pytest.approx(theirs.loc[patient].to_dict(), abs=1e-9)
    majority = MajorityVote().fit_predict(frame)
    for patient, row in enumerate(PATIENTS):
        counted = vote([(f"observer {n}", label) for n, label in enumerate(row)])
        best = max(row.count(label) for label in row)
        tied = len({label for label in row if row.count(label) == best}) > 1
        assert counted.label == (None if tied else majority[patient])
        assert counted.count == 5 and sum(counted.shares.values()) == pytest.approx(1)
    skills = {f"observer {n}": skill for n, skill in enumerate((0.9, 0.55, 0.7, 0.62, 0.8))}
    theirs = MajorityVote().fit(frame, skills=pd.Series(skills))
    for patient, row in enumerate(PATIENTS):
        weighed = vote([(f"observer {n}", label) for n, label in enumerate(row)], skills)
        assert weighed.label == theirs.labels_[patient]
        assert weighed.agreement == pytest.approx(theirs.probas_.loc[patient, weighed.label])


def test_weights_decide_and_a_tie_is_no_label():
    votes = [("ann", "yes"), ("bob", "no"), ("eve", "no")]
    assert (vote(votes).label, vote(votes).agreement) == ("no", pytest.approx(2 / 3))
    weighed = vote(votes, {"ann": 0.9, "bob": 0.3, "eve": 0.3})
    assert (weighed.label, weighed.agreement, weighed.margin) == ("yes", pytest.approx(0.6), pytest.approx(0.2))
    assert vote(votes[:2]).label is None and vote(votes[:2]).margin == 0
    assert vote(votes, {"ann": 0.0, "bob": 0.0, "eve": 0.0}).label == "no"  # nobody was ever right: all count alike
    assert vote([("zoe", "a"), ("ann", "b")], {"ann": 0.4}).label is None  # who has no gold has the mean weight


ERRORS = {"ann": 0.15, "bob": 0.2, "cat": 0.25, "dan": 0.3, "eve": 0.35, "fay": 0.4, "gus": 0.45}


def drawn_and_judged(seed: int) -> tuple[Trajectory, dict[str, bytes], bool]:
    """A scene of the embedded world under its own prompt or another's, a random verdict, and whether that is right."""
    rng = random.Random(seed)
    drawn, asked = (sample_description(rng, "mixed") for _ in range(2))
    asked = drawn if rng.random() < 0.5 else asked
    pixels = render(sample_scene(rng, drawn))
    png, answer = encode_png(Picture.fromarray(pixels)), rng.choice(("yes", "no"))
    sha256 = hashlib.sha256(png).hexdigest()
    said = Reflection(answer, 0.5, (Token(1, answer.capitalize()), Token(2, ", so it is.")))
    segments = (Image((), sha256), said)
    trajectory = Trajectory(write(asked), seed, 1, Sampling(), "world", segments, StopReason.ROUNDS)
    return trajectory, {sha256: png}, (fit(asked, verifier.read(pixels)) == 1) == (answer == "yes")


def test_the_label_of_several_unreliable_people_is_right_more_often_than_any_of_them(store, capsys):
    """Seven simulated annotators with error rates of 15 to 45 % about 120 verdicts on the embedded world."""
    rng, truth = np.random.default_rng(0), {}
    shares: dict[str, float] = dict.fromkeys(ERRORS, 0.0)
    for seed in range(120):
        trajectory, pictures, right = drawn_and_judged(seed)
        id = store.save(trajectory, pictures, owner="visitor")
        truth[id], says = right, {name: bool(right ^ (rng.random() < error)) for name, error in ERRORS.items()}
        store.annotate_all(
            [judged(id, 1, name, verdict_right="yes" if yes else "no", reason_rating=3) for name, yes in says.items()]
        )
        for name, yes in says.items():
            shares[name] += (yes == right) / 120
    for aggregation in (Aggregation.MAJORITY, Aggregation.DAWID_SKENE):
        context = StoreContext(store, Query(aggregation=aggregation))
        every = [
            (s.trajectory.id, context.votes(group, "verdict_right"))
            for s in annotated_trajectories(store, context.query)
            for group in s.groups
        ]
        shares[aggregation.value] = float(np.mean([(votes.label == "yes") == truth[id] for id, votes in every]))
    with capsys.disabled():
        print("\nshares of right labels:", {name: round(share, 3) for name, share in shares.items()})
    best = max(shares[name] for name in ERRORS)
    assert shares["dawid_skene"] >= shares["majority"] > best


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "data") as store:
        yield store


def judge(store, number: int, said: dict[str, dict]) -> None:
    trajectory, pictures = aha(number)
    id = store.save(trajectory, pictures, owner="visitor")
    for who, answers in said.items():
        store.annotate(judged(id, 2, who, **answers))


YES, NO = {"verdict_right": "yes", "reason_rating": 5}, {"verdict_right": "no", "reason_correction": "there are two."}


@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_a_reflection_weighs_one_however_many_people_said_it(store, tmp_path, aggregation):
    judge(store, 0, {"ann": YES, "bob": YES, "eve": YES})
    judge(store, 1, {"ann": NO})
    export(store, "judge_sft", tmp_path / "out", query=Query(aggregation=aggregation))
    rows = pd.read_parquet(tmp_path / "out" / "train-00000-of-00001.parquet")
    weights = rows.groupby("trajectory_id")["weight"].sum().tolist()
    assert sorted(weights) == ([1, 3] if aggregation is Aggregation.ALL else [1, 1])
    assert sorted(rows["votes"]) == ([1, 3, 3, 3] if aggregation is Aggregation.ALL else [1, 3])


@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_a_decision_that_makes_a_row_goes_before_people_who_say_the_same_in_other_words(store, aggregation):
    trajectory, pictures = aha(0)
    id = store.save(trajectory, pictures, owner="visitor")
    said = {who: NO | {"reason_correction": f"{who} says two."} for who in ("ann", "bob", "rae")}
    ann, _ = store.annotate_all([judged(id, 2, who, **said[who]) for who in ("ann", "bob")])
    decide(store, ann.item, "rae", [judged(id, 2, "rae", **said["rae"])])
    held = survey(store, "judge_sft", Query(aggregation=aggregation), first=5)
    assert [row.values["correction"] for row in held.first] == ["rae says two."]
    assert held.left_out == {JudgeExclusion.OVERRULED: 2}


@pytest.mark.parametrize("aggregation", [a for a in Aggregation if a is not Aggregation.ALL])
def test_people_who_disagree_make_no_row_and_are_counted(store, aggregation):
    judge(store, 0, {"ann": YES, "bob": NO})
    held = survey(store, "judge_sft", Query(aggregation=aggregation))
    assert held.rows == 0 and held.left_out == {"people disagree about the verdict, and no reviewer has decided": 2}


def test_a_label_needs_as_much_agreement_as_is_asked_for(store):
    judge(store, 0, {"ann": YES, "bob": YES, "eve": NO})
    assert survey(store, "judge_sft", Query(min_agreement=0.6)).rows == 1
    assert survey(store, "judge_sft", Query(min_agreement=0.7)).rows == 0


def test_two_wordings_of_the_same_verdict_share_the_weight(store, tmp_path):
    judge(store, 0, {"ann": NO, "bob": NO | {"reason_correction": "two apples are there."}, "eve": NO})
    export(store, "judge_sft", tmp_path / "out")
    rows = pd.read_parquet(tmp_path / "out" / "train-00000-of-00001.parquet")
    assert rows["weight"].tolist() == [0.5, 0.5] and rows["annotator"].isna().tolist() == [True, False]

"""Everything that one studio collected, taken by another: the same drawings, pictures and answers."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_annotations_samples import aha, judged

from annotations.export.exporter import export
from annotations.export.manifest import PARQUET, read_manifest
from annotations.importing.importer import bring_in
from annotations.queue.review import decide
from annotations.schema.annotation import Annotation, Answers
from annotations.schema.default_projects import ARENA, EDITS, RICH
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store

PROMPTS = ("a pear", "two apples", "two apples", "a blue car")


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "data") as store:
        yield store


def answered(store: Store, names: dict[str, str] | None = None) -> list[str]:
    """What everybody said; under other `names`, where they are given."""
    said = []
    for a in store.annotations():
        name = (names or {}).get(a.annotator, a.annotator)
        said.append((a.project, a.trajectory_id, a.segment, name, Answers(a.answers).to_dict(), a.seconds, a.decision))
    return sorted(map(str, said))


def fill(store: Store) -> None:
    ids = [store.save(*aha(number, prompt=prompt), owner="visitor") for number, prompt in enumerate(PROMPTS)]
    store.annotate(judged(ids[0], 2, "ann", verdict_right="no", reason_correction="there are “two” 苹果."))
    store.annotate(replace(judged(ids[0], 4, "bob", verdict_right="yes", reason_rating=5), seconds=12.5))
    for project in (ARENA, RICH, replace(EDITS, collects=False)):
        store.create_project(project)
    [pair] = store.add_items(ARENA.id, [NewItem(ids[1], ids[2])])
    vote = {"choice": "right", "left": ids[1], "right": ids[2]}
    store.annotate(Annotation(ids[1], None, "ann", {"alignment": vote, "comment": "=1+1"}, project=ARENA.id, item=pair))
    store.add_items(RICH.id, [NewItem(ids[3])])
    region = {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4, "label": "artifact"}
    rich = {"alignment": 4, "appearance": 2, "regions": [region], "words_not_drawn": [1]}
    store.annotate(Annotation(ids[3], 1, "eve", rich, project=RICH.id))
    store.annotate(Annotation(ids[3], None, "eve", {"best": 3, "tags": ["blurred", "two"]}, project=RICH.id))
    [item] = store.add_items(EDITS.id, [NewItem(ids[0])])
    store.annotate(Annotation(ids[0], 2, "ann", {"verdict_right": "yes", "edit": "remove one"}, project=EDITS.id))
    decide(store, item, "rae", [Annotation(ids[0], 2, "rae", {"verdict_right": "no"}, project=EDITS.id)])


def test_another_studio_has_the_same_drawings_and_answers(store, tmp_path):
    fill(store)
    manifest = export(store, "ours", tmp_path / "out")
    pseudonyms = store.pseudonyms(["ann", "bob", "eve", "rae"])
    assert manifest.counts == {"annotated": 3, "annotations": 7}
    with open_store(tmp_path / "other") as other:
        report = bring_in(other, tmp_path / "out" / PARQUET, "ours", owner="me")
        assert (report.records, report.errors) == (4, ())
        assert [other.trajectory(t.id) for t in other.trajectories()] == [
            store.trajectory(t.id) for t in store.trajectories()
        ]
        assert answered(other) == answered(store, pseudonyms)
        assert {p.id: p.questions for p in store.projects()} == {p.id: p.questions for p in other.projects()}
        again = export(other, "ours", tmp_path / "again")
        assert again.examples == 4 and again.counts == manifest.counts
        bring_in(other, tmp_path / "out" / PARQUET, "ours", owner="me")
        assert answered(other) == answered(store, pseudonyms)  # nothing comes in twice


def test_a_project_of_the_same_name_with_other_questions_keeps_its_own(store, tmp_path):
    fill(store)
    export(store, "ours", tmp_path / "out")
    with open_store(tmp_path / "other") as other:
        other.create_project(replace(RICH, questions=RICH.questions[:1]))
        bring_in(other, tmp_path / "out" / PARQUET, "ours", owner="me")
        assert other.project(RICH.id).questions == RICH.questions[:1]
        imported = other.project(f"imported-{RICH.id}")
        assert imported.questions == RICH.questions and imported.name != RICH.name
        assert len(other.annotations(project=imported.id)) == 2
        assert other.annotations(project=RICH.id) == []
    with open_store(tmp_path / "third") as third:  # which has imported another project of that name before
        third.create_project(replace(RICH, questions=RICH.questions[:1]))
        third.create_project(replace(RICH, id=f"imported-{RICH.id}", name="Другой", questions=RICH.questions[:2]))
        bring_in(third, tmp_path / "out" / PARQUET, "ours", owner="me")
        assert third.project(f"imported-{RICH.id}-2").questions == RICH.questions
        assert {a.project for a in third.annotations()} >= {f"imported-{RICH.id}-2"} and len(third.annotations()) == 7


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("annotations", lambda said: said | {"project": "another"}),
        ("annotations", lambda said: said | {"segment": 99}),
        ("annotations", lambda said: said | {"answers": {"nobody_asked": "yes"}}),
        ("annotations", lambda said: said | {"annotator": ""}),
        ("annotations", lambda said: said | {"seconds": None}),
        ("annotations", lambda said: said | {"decision": "boss"}),
        ("projects", lambda project: project | {"name": "x" * 200}),
        ("projects", lambda project: project | {"questions": [{**project["questions"][0], "form": "hologram"}]}),
    ],
)
def test_an_answer_that_cannot_be_stored_is_told_with_its_row(store, tmp_path, column, change):
    store.annotate(judged(store.save(*aha(0), owner="v"), 2, "ann", verdict_right="no"))
    export(store, "ours", tmp_path / "out")
    [row] = pq.read_table(tmp_path / "out" / PARQUET).to_pylist()
    said = json.loads(row[column])
    changed = [change(said[0])] if column == "annotations" else {id: change(each) for id, each in said.items()}
    pq.write_table(pa.Table.from_pylist([row | {column: json.dumps(changed)}]), tmp_path / "bad.parquet")
    with open_store(tmp_path / "other") as other:
        [error] = bring_in(other, tmp_path / "bad.parquet", "ours", owner="me").errors
        assert (error.place, other.trajectories()) == ("annotations", [])


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2**63}, {"seed": -1}, {"rounds": 2**31}, {"created_at": "0001-01-01T00:00:00+14:00"},
        {"segments": {"origins": [["sampled", 10**9]]}}, {"segments": {"origins": [["sampled", 3]]}},
        {"segments": {"codes": [2**31]}}, {"segments": {"codes": [-1]}}, {"segments": {"answer": "Yes"}},
        {"segments": {"p_yes": 7}}, {"segments": {"tokens": [[2**31, "No", "sampled"]], "text": "No"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_trajectory_that_no_export_could_hold_is_not_taken(store, tmp_path, change):
    trajectory, pictures = aha(0)
    body = trajectory.to_dict()
    for segment in body["segments"] if "segments" in change else ():
        segment |= {name: value for name, value in change["segments"].items() if name in segment}
    body |= {name: value for name, value in change.items() if name != "segments"}
    (tmp_path / "trajectory.json").write_text(json.dumps(body), "utf-8")
    for sha256, content in pictures.items():
        (tmp_path / f"{sha256}.png").write_bytes(content)
    [error] = bring_in(store, tmp_path / "trajectory.json", "ours", owner="me").errors
    assert "wanted" in str(error) and store.trajectories() == []


def test_what_was_exported_names_nobody(store, tmp_path):
    fill(store)
    export(store, "ours", tmp_path / "out")
    written = pq.read_table(tmp_path / "out" / PARQUET).select(["trajectory", "annotations"]).to_pylist()
    assert read_manifest(tmp_path / "out").annotators == 4
    assert not [name for name in ("ann", "bob", "eve", "rae", "visitor") if f'"{name}"' in str(written)]

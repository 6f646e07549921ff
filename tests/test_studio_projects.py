"""The pages of projects, without a browser: made, filled in three ways, changed, looked at; refused to visitors."""

import csv
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image as Picture
from studio_samples import HOSTILE, aha, stopped

from annotations.errors import ConflictError
from annotations.export.annotated_trajectories import annotated_trajectories
from annotations.export.query import EVERYTHING
from annotations.importing.formats import FORMATS
from annotations.importing.source_tables import AUTO
from annotations.queue.progress import project_answers, project_counts
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import ARENA, READY_MADE, REFLECTIONS_PROJECT, RICH
from annotations.schema.project import Order, Role
from annotations.store.items import NewItem
from annotations.store.store import open_store
from model.decoding.janus_backend import JanusBackend
from studio.gallery.filters import WHOLE
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.projects import item_sources
from studio.projects.page import ProjectForm, ProjectsHandlers, identity
from studio.projects.project_page import FORMAT_NAMES, NOBODY, ProjectHandlers, ProjectView
from studio.projects.question_editor import QuestionEditorView, QuestionFields, QuestionHandlers
from studio.projects.removal_section import RemovalHandlers
from studio.settings import Mode, Settings

REFLECTIONS, PAIRS, FEEDBACK, *_ = (project.name for project in READY_MADE)
AUTOMATIC = next(iter(FORMAT_NAMES))
CHOICE = tuple(vars(WHOLE).values())


def quiet(*given, **named) -> None:
    """Tells nobody how far it is."""


def visit(**address: str) -> SimpleNamespace:
    return SimpleNamespace(query_params=address, username=None, session_hash="s")


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def list_handlers(store):
    return ProjectsHandlers(store, Settings())


@pytest.fixture
def handlers(store, tiny):
    return ProjectHandlers(store, Settings(), Checkpoints(Generator(JanusBackend(tiny), store)))


def keep(store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(identity=f"t{number}", last=20 + number)
    return store.save(replace(trajectory, **changes), pictures, owner="visitor")


def new(store, base=RICH, **changes) -> str:
    return store.create_project(replace(base, id="mine", name="Mine", **changes)).id


def test_a_project_is_made_from_a_ready_made_kind(store, list_handlers):
    begun = list_handlers.kind(FEEDBACK, visit())
    assert begun.name == "" and "right and ugly" in begun.guidelines
    given = begun._replace(name="Fruit & veg, May", overlap=4, gold=10, people="ann, bob", seen_by="Admins only")
    listed, note = list_handlers.make(visit(), FEEDBACK, *given)
    made = store.project("fruit-veg-may")
    assert (made.questions, made.overlap, made.gold_share, made.people) == (RICH.questions, 4, 0.1, ("ann", "bob"))
    assert (made.role, made.order) == (Role.ADMIN, Order.MARGIN)
    assert "Fruit &amp; veg, May" in listed and 'href="project?id=fruit-veg-may"' in note


def test_what_cannot_be_a_project_is_said_and_nothing_is_stored(store, list_handlers):
    blank = ProjectForm.of(RICH)
    assert "has no name" in list_handlers.make(visit(), FEEDBACK, *blank._replace(name=" "))[1]
    list_handlers.make(visit(), FEEDBACK, *blank)
    assert "choose another" in list_handlers.make(visit(), FEEDBACK, *blank)[1]
    assert "overlap of 101" in list_handlers.make(visit(), FEEDBACK, *blank._replace(name="b", overlap=101))[1]
    assert len(store.projects()) == 2


def test_a_new_project_of_reflections_does_not_collect_every_drawing(store, list_handlers):
    list_handlers.make(visit(), REFLECTIONS, *ProjectForm.of(REFLECTIONS_PROJECT)._replace(name="Mine", overlap=2))
    keep(store)
    assert project_counts(store)["mine"].items == 0 and project_counts(store)["reflections"].items == 1


def test_hostile_names_stay_text(list_handlers):
    listed, note = list_handlers.make(visit(), FEEDBACK, *ProjectForm.of(RICH)._replace(name=HOSTILE))
    assert "<img src=q" not in listed + note and "&lt;img src=q" in listed
    assert identity(HOSTILE) == "img-src-q-onerror-alert-1-alert-2-value"


def test_the_form_of_a_project_gives_it_back_unchanged(store):
    for project in READY_MADE:
        assert ProjectForm.of(project).project(project) == project


def test_guidelines_and_overlap_change_later(store, handlers):
    project = new(store)
    keep(store)
    store.add_items(project, [NewItem("t0")])
    loaded = ProjectForm.of(store.project(project))
    assert "Stored" in changed(handlers, project, loaded, guidelines="New.", overlap=0)
    assert (store.project(project).guidelines, store.project(project).overlap) == ("New.", None)
    assert "has no name" in changed(handlers, project, ProjectForm.of(store.project(project)), name="")


def changed(handlers: ProjectHandlers, project: str, loaded: ProjectForm, **fields: Any) -> str:
    """What is said of a form that was loaded, and filled in since."""
    given = handlers.change(visit(), project, loaded, *loaded._replace(**fields))
    assert len(given) == len(ProjectView._fields) + 1 + len(ProjectForm._fields)
    return given[len(ProjectView._fields) - 1]


def test_what_two_admins_change_of_a_project_at_the_same_time_is_kept_or_told(store, handlers):
    project = new(store)
    loaded = ProjectForm.of(store.project(project))  # on both pages
    assert "Stored" in changed(handlers, project, loaded, guidelines="Look twice.")
    assert "Stored" in changed(handlers, project, loaded, overlap=5)
    told = changed(handlers, project, loaded, guidelines="Look once.", practice=3)
    assert "somebody else has changed the same meanwhile (guidelines)" in told.lower()
    now = store.project(project)
    assert (now.guidelines, now.overlap, now.practice) == ("Look twice.", 5, loaded.practice)
    with pytest.raises(ConflictError, match="changed by somebody else meanwhile"):
        store.change_project(replace(now, name="Other"), replace(now, overlap=1))
    assert store.project(project) == now


def test_the_name_of_a_deleted_project_is_free_again_as_often_as_it_is_deleted(store, list_handlers):
    fields = ProjectForm.of(RICH)._replace(name="May")
    for _ in range(4):
        assert "is made" in list_handlers.make(visit(), RICH.name, *fields)[1]
        [made] = [project for project in store.projects() if project.name == "May"]
        removal = RemovalHandlers(store, Settings())
        assert "It is deleted" in removal.delete(made.id, "May", visit())[1]
        assert "there is no project" in removal.delete(made.id, "May", visit())[1].lower()
    assert len([id for id in store.project_ids() if id.startswith("may")]) == 4


def test_a_closed_project_says_so_and_opens_again(store, handlers):
    project = new(store)
    assert "It is closed" in handlers.close(project, visit()).heading
    closed_at = store.project(project).closed_at
    handlers.close(project, visit())  # as by another admin, whose page is older
    assert store.project(project).closed_at == closed_at is not None
    for _ in range(2):
        assert "It is open" in handlers.reopen(project, visit()).note
        assert store.project(project).closed_at is None


def test_the_gallery_is_added_as_it_is_narrowed(store, handlers):
    project = new(store)
    keep(store, 0), keep(store, 1, prompt="a blue car")
    store.save(*[stopped(), {}], owner="visitor")
    assert "1 item added" in handlers.add_gallery(visit(), project, 50, "car", *CHOICE[1:]).note
    view = handlers.add_gallery(visit(), project, 50, *CHOICE)
    assert "1 item added; 1 was there already; 1 has nothing that is asked" in view.note
    assert "0 of 2 done" in view.progress
    assert "no drawing is like that" in handlers.add_gallery(visit(), project, 50, "zebra", *CHOICE[1:]).note.lower()
    assert "choose how many" in handlers.add_gallery(visit(), project, None, *CHOICE).note.lower()


def test_only_the_newest_are_added_when_there_are_more(store, handlers):
    project = new(store)
    for number in range(5):
        keep(store, number, created_at=f"2026-01-0{number + 1}T00:00:00+00:00")
    handlers.add_gallery(visit(), project, 2, *CHOICE)
    assert item_sources.of_gallery(store, WHOLE.filter(), 2) == ["t4", "t3"]
    assert project_counts(store)[project].items == 2


def test_a_project_of_pairs_takes_drawings_of_one_prompt_by_different_hands(store, handlers):
    project = new(store, ARENA)
    (
        keep(store, 0),
        keep(store, 1, checkpoint="other"),
        keep(store, 2, checkpoint="other"),
        keep(store, 3, prompt="a cat"),
    )
    assert "1 item added; 2 have nothing" in handlers.add_gallery(visit(), project, 50, *CHOICE).note


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Picture.new("RGB", (8, 8), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(path: Path, rows: list[tuple[str, str]]) -> str:
    """A folder of images and their CSV, as one file."""
    with zipfile.ZipFile(path, "w") as archive:
        table = io.StringIO()
        csv.writer(table).writerows([("file_name", "prompt"), *rows])
        archive.writestr("folder/metadata.csv", table.getvalue())
        for number in range(2):
            archive.writestr(f"folder/{number}.png", picture(40 * number))
    return str(path)


def test_an_import_is_added_and_bad_rows_stop_all_of_it(store, handlers, tmp_path):
    project = new(store)
    folder = "A folder of images with a CSV"
    bad = zipped(tmp_path / "bad.zip", [("0.png", "a cat"), ("gone.png", HOSTILE), ("1.png", "")])
    *view, told, table, _ = handlers.add_file(visit(), project, [bad], folder, False, NOBODY, quiet)
    assert "Nothing is imported: 2 rows are bad" in told and "gone.png" in told and "<img src=q" not in told
    assert len(Path(table["value"]).read_text("utf-8").splitlines()) == 3
    assert store.trajectories() == [] and project_counts(store)[project].items == 0

    *view, told, table, _ = handlers.add_file(visit(), project, [bad], folder, True, NOBODY, quiet)
    assert "1 records imported" in told and project_counts(store)[project].items == 1

    good = zipped(tmp_path / "good.zip", [("0.png", "a cat"), ("1.png", "a dog")])
    *view, told, table, _ = handlers.add_file(visit(), project, [good], folder, False, NOBODY, quiet)
    assert project_counts(store)[project].items == 2 and table["visible"] is False


def test_the_progress_of_an_import_is_told(store, handlers, tmp_path):
    seen = []
    good = zipped(tmp_path / "good.zip", [("0.png", "a cat"), ("1.png", "a dog")])

    def how(at, desc, unit) -> None:
        seen.append((desc, at))

    handlers.add_file(visit(), new(store), [good], "A folder of images with a CSV", False, NOBODY, how)
    assert ("Checking", (2, 2)) in seen and ("Storing", (2, 2)) in seen


def test_an_earlier_import_is_added_to_another_project(store, handlers, tmp_path):
    trajectory, pictures = aha()
    file = tmp_path / "one.json"
    file.write_text(json.dumps(trajectory.to_dict()))
    shown = []
    for sha256, png in pictures.items():
        shown.append(tmp_path / f"{sha256}.png")
        shown[-1].write_bytes(png)
    first, second = new(store), store.create_project(replace(RICH, id="second", name="Second")).id
    handlers.add_file(visit(), first, [str(file), *map(str, shown)], "The studio’s own JSON", False, NOBODY, quiet)
    assert project_counts(store)[first].items == 1
    [batch] = store.imports()
    assert "1 item added" in handlers.add_import(second, batch.id, visit()).note
    assert "choose an import" in handlers.add_import(second, None, visit()).note.lower()


def test_what_is_no_file_or_no_zip_is_said(store, handlers, tmp_path):
    project = new(store)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"no zip")
    name = next(iter(FORMAT_NAMES))
    assert "got no file" in handlers.add_file(visit(), project, None, name, False, NOBODY, quiet)[5].lower()
    assert "cannot be unpacked" in handlers.add_file(visit(), project, [str(broken)], name, False, NOBODY, quiet)[5]


def test_every_format_can_be_chosen():
    assert set(FORMAT_NAMES.values()) == {AUTO, *FORMATS}


def test_prompts_are_drawn_and_added(store, handlers):
    project = new(store, ARENA)
    way, other = item_sources.ways(handlers.checkpoints)
    seen = []

    def how(at, desc, unit) -> None:
        seen.append(at)

    *_, last = handlers.add_prompts(visit(), project, "two cars\n\na red cat\ntwo cars", [way, other], 1, how)
    assert "2 items added" in last.note and seen[-1] == (2, 2)
    assert project_counts(store)[project].items == 2
    drawn = store.trajectories()
    assert len(drawn) == 4 and {one.prompt for one in drawn} == {"two cars", "a red cat"}
    thinks = [bool(store.trajectory(one.id).sampling.thinks) for one in drawn]
    assert sorted(thinks) == [False, False, True, True]
    seeds = {one.prompt: {store.trajectory(o.id).seed for o in drawn if o.prompt == one.prompt} for one in drawn}
    assert all(len(of) == 1 for of in seeds.values())


def test_nothing_is_drawn_when_a_prompt_cannot_be(store, handlers):
    project = new(store)
    [view] = handlers.add_prompts(
        visit(), project, "two cars\nan elephant", item_sources.ways(handlers.checkpoints)[:1], 1, quiet
    )
    assert "elephant" in view.note and store.trajectories() == []
    [view] = handlers.add_prompts(visit(), project, " ", item_sources.ways(handlers.checkpoints)[:1], 1, quiet)
    assert "no prompt" in view.note
    [view] = handlers.add_prompts(
        visit(), new_pairs(store), "two cars", item_sources.ways(handlers.checkpoints)[:1], 1, quiet
    )
    assert "two ways to draw" in view.note


def new_pairs(store) -> str:
    return store.create_project(replace(ARENA, id="pairs", name="Pairs")).id


def test_the_dashboard_has_people_days_agreement_and_answers(store, handlers):
    project = new(store)
    keep(store, 0), keep(store, 1)
    store.add_items(project, [NewItem("t0"), NewItem("t1")])
    for who, ratings in (("ann", (5, 1)), ("bob", (4, 2))):
        for number, rating in enumerate(ratings):
            for segment in (1, 4):
                said = {"alignment": rating, "appearance": 3}
                store.annotate(Annotation(f"t{number}", segment, who, said, project=project))
    view, *_ = [handlers.start(visit(id=project))]
    html = view[4]
    assert "ann" in html and "bob" in html and "Answers per day" in html
    assert "ordinal, by ranks; 4 items, 8 answers" in html
    assert "All 8 answers are the same" in html
    assert project_counts(store)[project] == project_counts(store)[project]
    assert len(project_answers(store, project).submitted) == 8


def test_as_many_ways_to_draw_are_chosen_already_as_are_needed(store, handlers):
    known = item_sources.ways(handlers.checkpoints)
    ways = -3 - len(QuestionEditorView._fields)
    menus = [handlers.start(visit(id=project))[ways] for project in (new(store), new_pairs(store))]
    assert [menu["value"] for menu in menus] == [known[:1], known[:2]] and menus[0]["choices"] == known


def test_an_import_that_ended_with_the_studio_is_told_on_the_page(store, handlers):
    project = new(store)
    store.interrupted_imports.append("<b>.csv")
    told = "".join(map(str, handlers.start(visit(id=project))))
    assert "ended during the import of “&lt;b&gt;.csv”; nothing of it is kept" in told


def test_an_address_that_names_no_project_says_so(handlers):
    assert "No such project" in handlers.start(visit(id="gone"))[1]


def test_a_visitor_is_refused_by_every_handler(store, tiny):
    public = Settings(mode=Mode.PUBLIC)
    list_handlers = ProjectsHandlers(store, public)
    handlers = ProjectHandlers(store, public, Checkpoints(Generator(JanusBackend(tiny), store)))
    calls = (
        lambda: list_handlers.start(visit()),
        lambda: list_handlers.kind(FEEDBACK, visit()),
        lambda: list_handlers.make(visit(), FEEDBACK, *ProjectForm.of(RICH)),
        lambda: handlers.start(visit(id="reflections")),
        lambda: handlers.change(visit(), "reflections", ProjectForm.of(RICH), *ProjectForm.of(RICH)),
        lambda: handlers.close("reflections", visit()),
        lambda: handlers.reopen("reflections", visit()),
        lambda: handlers.add_gallery(visit(), "reflections", 5, *CHOICE),
        lambda: handlers.add_file(visit(), "reflections", [], next(iter(FORMAT_NAMES)), False, NOBODY, quiet),
        lambda: handlers.add_import("reflections", "x", visit()),
        lambda: list(handlers.add_prompts(visit(), "reflections", "two cars", ["tiny"], 1, quiet)),
        lambda: handlers.questions.choose("reflections", None, visit()),
        lambda: handlers.questions.preview(visit(), "reflections", None, "Which?", *ABOUT_IT),
        lambda: handlers.questions.keep(visit(), "reflections", None, None, "Which?", *ABOUT_IT),
        lambda: handlers.questions.refresh("reflections", visit()),
        lambda: handlers.questions.move("reflections", "verdict_right", 1, visit()),
        lambda: handlers.questions.remove("reflections", "verdict_right", visit()),
        lambda: RemovalHandlers(store, public).archive("reflections", visit()),
        lambda: RemovalHandlers(store, public).take_out("reflections", visit()),
        lambda: RemovalHandlers(store, public).delete("reflections", "Reflections", visit()),
    )
    for call in calls:
        with pytest.raises(gr.Error, match="not open to visitors"):
            call()


def test_names_in_any_script_are_projects_of_their_own_and_those_that_look_the_same_are_refused(store, list_handlers):
    given = list_handlers.kind(FEEDBACK, visit())
    names = ("图像评审", "偏好比较", "الصور", "Проверка 2", "Оценка 2", "हिन्दी", "A/B", "a b", "Caf\u00e9")
    for name in names:
        assert "is made" in list_handlers.make(visit(), FEEDBACK, *given._replace(name=name))[1]
    made = {project.name: project.id for project in store.projects()}
    assert set(names) <= set(made) and len(set(made.values())) == len(made)
    for name in ("Cafe\u0301", "CAF\u00c9", "图像\u200b评审", "a\u3000b"):
        assert "looks the same" in list_handlers.make(visit(), FEEDBACK, *given._replace(name=name))[1]


def test_drawings_that_are_the_same_picture_become_no_pair(store, handlers):
    project = new(store, ARENA)
    for number, last in enumerate((20, 20, 30)):
        trajectory, pictures = aha(identity=f"t{number}", last=last)
        store.save(replace(trajectory, checkpoint=f"net{number}"), pictures, owner="visitor")
    note = handlers.add_gallery(visit(), project, 50, *CHOICE).note
    assert "2 items added; 1 pair shows the same picture twice and cannot be compared" in note


def test_a_project_that_wants_practice_says_where_none_is_appointed(store, handlers):
    project = store.create_project(replace(REFLECTIONS_PROJECT, id="new", name="New", practice=5)).id
    keep(store, 0)
    view = handlers.start(visit(id=project))
    assert "begin with 5 practice items, but none is appointed" in "".join(map(str, view))
    assert f'href="review?project={project}"' in "".join(map(str, view))


ABOUT_IT = ("", "image", "rating", "", 1, 7, False)  # help, about, form, choices, scale, required


def test_questions_are_added_put_in_order_previewed_and_removed_and_what_is_answered_stays(store, handlers):
    store.create_project(replace(RICH, overlap=1))
    id = keep(store, 0)
    store.add_items(RICH.id, [NewItem(id)])
    editor, request = handlers.questions, visit()
    names = [question.name for question in RICH.questions]
    sheet, note = editor.preview(request, RICH.id, "", "How lively is it?", *ABOUT_IT)
    asked = [question for thing in sheet["things"] for question in thing["questions"]]
    assert note == "" and "How lively is it?" in [question["title"] for question in asked]
    assert len(store.project(RICH.id).questions) == len(names)  # nothing is stored by a preview
    view = editor.keep(request, RICH.id, "", None, "How lively is it?", *ABOUT_IT)
    assert store.project(RICH.id).questions[-1].name == "how_lively_is_it" == view.chosen["value"]
    first = [question["title"] for question in view.sheet["things"][0]["questions"]]
    assert [title for title, _ in view.chosen["choices"]][: len(first)] == first and first[-1] == "How lively is it?"
    assert view.lowest["visible"] is True and view.choices["visible"] == "hidden"
    editor.move(RICH.id, "how_lively_is_it", -1, request)
    assert [q.name for q in store.project(RICH.id).questions][3:5] == ["how_lively_is_it", "words_not_drawn"]
    assert "about the same" in editor.move(RICH.id, "words_not_drawn", 1, request).note
    assert editor.refresh(RICH.id, request)[0]["things"]
    store.annotate(Annotation(id, 1, "ann", {"how_lively_is_it": 7, "alignment": 1, "appearance": 1}, project=RICH.id))
    refused = editor.remove(RICH.id, "how_lively_is_it", request)
    assert "People have answered" in refused.note
    assert (
        "People have answered"
        in editor.keep(request, RICH.id, "how_lively_is_it", None, "How lively?", "", "image", "text", "", 1, 5, 0).note
    )
    editor.remove(RICH.id, "tags", request)
    assert "tags" not in [question.name for question in store.project(RICH.id).questions]
    facts = editor.keep(request, RICH.id, "", None, "What holds?", "", "image", "facts", "", 1, 5, True)
    asked = [question for thing in facts.sheet["things"] for question in thing["questions"]]
    assert [q["choices"] for q in asked if q["form"] == "facts"][0][0] == ["two apples", "two apples"]
    assert (
        "wanted at least two"
        in editor.preview(request, RICH.id, "", "Which?", "", "image", "choice", "one", 1, 5, False)[1]
    )


def test_what_two_admins_change_of_a_question_at_the_same_time_is_told_to_the_second(store, handlers):
    store.create_project(RICH)
    editor, name = handlers.questions, RICH.questions[0].name

    def asked():
        return store.project(RICH.id).questions

    fields = [*QuestionFields.of(asked()[0])]
    shown = editor.choose(RICH.id, name, visit()).read  # on both pages
    first = editor.keep(visit(), RICH.id, name, shown, "One's words", *fields[1:])
    assert "Stored" in first.note and asked()[0].title == "One's words"
    assert (
        "changed or removed by somebody else" in editor.keep(visit(), RICH.id, name, shown, "Other", *fields[1:]).note
    )
    assert asked()[0].title == "One's words"
    editor.remove(RICH.id, name, visit())
    told = editor.keep(visit(), RICH.id, name, first.read, "Again", *fields[1:]).note
    assert "changed or removed by somebody else" in told and len(asked()) == len(RICH.questions) - 1


def test_what_archiving_and_deleting_does_to_answers_is_said_first_and_holds(store, handlers, list_handlers):
    store.create_project(replace(RICH, overlap=1))
    id = keep(store, 0)
    store.add_items(RICH.id, [NewItem(id)])
    store.annotate(Annotation(id, 1, "ann", {"alignment": 1, "appearance": 1}, project=RICH.id))
    removal = RemovalHandlers(store, Settings())
    assert "1 items, 1 answers of 1 people" in handlers.start(visit(id=RICH.id))[-2]
    for _ in range(2):
        told, note = removal.archive(RICH.id, visit())
        assert "in the archive now" in note and "can be taken out" in told
    assert "Archive (1)" in list_handlers.start(visit()) and store.project(RICH.id).closed_at is not None
    assert len(store.counted()) == 1
    for _ in range(2):
        assert "in the lists" in removal.take_out(RICH.id, visit())[1]
    assert "Archive (" not in list_handlers.start(visit())
    assert "Nothing is deleted" in removal.delete(RICH.id, "Poor feedback", visit())[1]
    assert "It is deleted" in removal.delete(RICH.id, "rich feedback", visit())[1]
    assert RICH.id not in [project.id for project in store.projects()] and store.counted() == []
    assert [subject.groups for subject in annotated_trajectories(store, EVERYTHING, everything=True)] == [()]
    assert store.visible([id]) == {id} and len(store.history(id)) == 1  # drawings and rows stay
    assert "belongs to this project" in removal.delete(REFLECTIONS_PROJECT.id, "Reflections", visit())[1]


def test_plain_pictures_are_judged_first_where_somebody_wants_it(store, handlers, tmp_path):
    project = new(store, REFLECTIONS_PROJECT, collects=False)
    (tmp_path / "a.png").write_bytes(picture(40))
    table = tmp_path / "table.csv"
    table.write_text("file_name,prompt\na.png,two apples\n", "utf-8")
    files, judge = [str(table), str(tmp_path / "a.png")], handlers.checkpoints.first.name
    *view, _, _, _ = handlers.add_file(visit(), project, files, AUTOMATIC, False, judge, quiet)
    assert "1 item added" in view[5]
    [judged] = [t for t in store.trajectories(limit=9) if t.checkpoint == judge]
    kinds = [segment.kind for segment in store.trajectory(judged.id).segments]
    assert kinds == ["source", "reflection"] and project_counts(store)[project].items == 1
    elsewhere = store.create_project(RICH).id
    assert (
        "does not ask about verdicts" in handlers.add_file(visit(), elsewhere, files, AUTOMATIC, False, judge, quiet)[5]
    )


def test_a_question_of_a_project_that_was_deleted_meanwhile_is_told(store):
    handlers = QuestionHandlers(store, Settings())
    for act in (lambda: handlers.choose("gone", "", None), lambda: handlers.move("gone", "", 1, None)):
        with pytest.raises(gr.Error, match="there is no project 'gone'"):
            act()

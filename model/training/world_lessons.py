"""Lessons made from the embedded world: the teacher that stands where the paper has FLUX and InternVL.

Draw, follow a changed plan, judge, redraw and edit, endlessly and from a seed. Exact drawings have known image codes
(`patches`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from model.janus import Janus
from model.templates import NO, YES
from model.training.drafts import OwnDraft
from model.training.lessons import Draft, HandNotes, Lesson, draw, drop_condition, edit, judge, planned
from model.training.mixes import Mix
from model.training.notes import drawn_notes, hand_notes, take_notes
from model.world.defects import DEFECTS, RELATION_DEFECTS, mistake, otherwise, spoil
from model.world.edits import Edit, apply_edit, sample_edit, write_edit
from model.world.language import Description, reword, write
from model.world.mending import mend
from model.world.patches import patch_codes
from model.world.plan import write_items
from model.world.reasons import write_reason
from model.world.sampling import sample_scene
from model.world.scene import Item, Scene, random_scene, render
from model.world.splits import sample_training
from model.world.verifier import Reading, accepted, check, read


def world_lessons(
    janus: Janus, rng: random.Random, mix: Mix, own: Sequence[OwnDraft] = ()
) -> Iterator[tuple[str, Lesson]]:
    """(task, lesson) without end; `own` are a model's own drafts."""
    shares = [getattr(mix, task) for task in _MAKERS]
    right, wrong = ([draft for draft in own if draft.right is kind] for kind in (True, False))
    while True:
        [task] = rng.choices(list(_MAKERS), shares)
        if task in _OWN_MAKERS and right and wrong and rng.random() < mix.own:
            lesson = _OWN_MAKERS[task](janus, rng, mix, right, wrong)
        else:
            description = sample_training(rng)
            lesson = _MAKERS[task](janus, rng, mix, description, sample_scene(rng, description))
        known = planned(lesson) if rng.random() < mix.planning else lesson
        if known is lesson and task != "judge":
            known = drop_condition(lesson, janus.ids.pad, rng, mix.dropout)
        yield task, known


def _prompt(rng: random.Random, mix: Mix, description: Description) -> str:
    prompt = write(description)
    return reword(rng, prompt) if rng.random() < mix.reworded else prompt


def _thought(items: Sequence[Item]) -> str:
    return " " + write_items(items)


def _plan(description: Description, items: Iterable[Item]) -> str:
    """A thought that names objects in the order of the prompt, what that does not name last: so it need not keep track
    of what is planned already."""
    nouns = [group.noun for group in description.groups]
    return _thought(sorted(items, key=lambda item: nouns.index(item.noun) if item.noun in nouns else len(nouns)))


def _draw(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    thought = _plan(description, scene.items) if rng.random() < mix.thinking else None
    return draw(janus, _prompt(rng, mix, description), [], thought, *_shown(janus, scene, thought))


def _shown(janus: Janus, scene: Scene, thought: str | None) -> tuple[list[int], HandNotes]:
    """The image codes of a scene, and the notes on them."""
    return patch_codes(render(scene)), hand_notes(janus, thought, scene)


def _redraw(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    """The revision keeps what was right in the last draft: the thought answers the reason."""
    if rng.random() < mix.steered:
        return _redraw_steered(janus, rng, mix, description, scene)
    drafts, thinks = [], rng.random() < mix.thinking
    for _ in range(1 + (rng.random() < mix.drafts)):
        codes = None
        while codes is None:  # a cell of shuffled pixels has no code of its own
            wrong = _spoilt(rng, mix, description, scene)
            codes = patch_codes(wrong)
        seen, slipped = read(wrong), rng.random() < mix.slips
        thought = _plan(description, scene.items if slipped else seen.shapes()) if thinks else None
        drafts.append(_draft(janus, reflect(rng, description, wrong), codes, seen, thought))
        scene = mend(rng, description, seen)
    thought = _plan(description, scene.items) if thinks else None
    return draw(janus, _prompt(rng, mix, description), drafts, thought, *_shown(janus, scene, thought))


def _draft(janus, reflection: str, codes: Sequence[int], seen: Reading, thought: str | None) -> Draft:
    """An earlier drawing, as a revision finds it in its context."""
    return Draft(reflection, codes=tuple(codes), thought=thought, drawn=drawn_notes(janus, seen.shapes()))


def _redraw_steered(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    """A right drawing is rejected for what the prompt does not say: the revision does as the reason says. So a reason
    is read, and not only the prompt once more."""
    image = render(scene)
    while accepted(check(wanted := otherwise(rng, description), read(image))):
        pass
    after, thinks = mend(rng, wanted, read(image)), rng.random() < mix.thinking
    before, thought = ((_plan(description, one.items) if thinks else None) for one in (scene, after))
    seen = _draft(janus, reflect(rng, wanted, image), patch_codes(image), read(image), before)
    return draw(janus, _prompt(rng, mix, description), [seen], thought, *_shown(janus, after, thought))


def _redraw_own(janus, rng, mix, right: Sequence[OwnDraft], wrong: Sequence[OwnDraft]) -> Lesson:
    own = rng.choice(wrong)
    reading, description, thinks = read(own.image), own.description, rng.random() < mix.thinking
    scene = mend(rng, description, reading)
    before = thought = None
    if thinks:  # its own thought may have planned what cannot be drawn, two at one place
        before, thought = own.thought or _plan(description, reading.shapes()), _plan(description, scene.items)
    seen = _draft(janus, reflect(rng, description, own.image), own.codes, reading, before)
    return draw(janus, _prompt(rng, mix, description), [seen], thought, *_shown(janus, scene, thought))


def _follow(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    _, _, after = _changed(rng, scene)
    thought = _thought(rng.sample(after.items, len(after.items)))
    return draw(janus, _prompt(rng, mix, description), [], thought, *_shown(janus, after, thought), given=True)


def _edit(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    scene, change, after = _changed(rng, scene)
    source, thought = patch_codes(render(scene)), _thought(after.items) if rng.random() < mix.thinking else None
    shown, drawn = _shown(janus, after, thought), drawn_notes(janus, scene.items)
    return edit(janus, write_edit(change), source, thought, *shown, drawn)


def _changed(rng: random.Random, scene: Scene) -> tuple[Scene, Edit, Scene]:
    """A scene (another if this one allows no edit), an edit of it and what comes of it."""
    while True:
        try:
            change = sample_edit(rng, scene)
            return scene, change, apply_edit(rng, scene, change)
        except ValueError:  # a full scene of twins has nothing that an instruction could name
            scene = random_scene(rng, rng.randint(1, 5))


def _judge(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    if mix.focus and rng.random() < mix.focused:
        return _judge_in_focus(janus, rng, mix)
    drafts = []
    if rng.random() < mix.drafts:
        wrong = _wrong(rng, mix, description, scene)
        notes = take_notes(janus, description, wrong)
        image = noisy(rng, wrong, mix.noise)
        drafts = [Draft(reflect(rng, description, wrong), image=image, target=True, notes=notes)]
        scene = sample_scene(rng, description) if rng.random() < 0.5 else scene
    return _judged(janus, rng, mix, description, drafts, _attempt(rng, mix, description, scene))


def _judged(janus, rng, mix, description: Description, drafts: Sequence[Draft], image: np.ndarray) -> Lesson:
    prompt, reflection = _prompt(rng, mix, description), reflect(rng, description, image)
    notes = take_notes(janus, description, image, prompt)
    return judge(janus, prompt, drafts, noisy(rng, image, mix.noise), reflection, notes)


def _judge_in_focus(janus, rng, mix) -> Lesson:
    focus = rng.choice(mix.focus) if rng.random() < mix.reviewed else mix.focus[-1]
    while not focus.suits(description := sample_training(rng, focus.category)):
        pass
    right = rng.random() < 0.5
    image = render(sample_scene(rng, description)) if right else mistake(rng, description, focus.respect)
    notes, seen = take_notes(janus, description, image), noisy(rng, image, mix.noise)
    return judge(janus, write(description), [], seen, YES if right else NO, notes, ends=False)


def _judge_own(janus, rng, mix, right: Sequence[OwnDraft], wrong: Sequence[OwnDraft]) -> Lesson:
    draft = rng.choice(right if rng.random() < 0.4 else wrong)
    return _judged(janus, rng, mix, draft.description, [], draft.image)


def _attempt(rng: random.Random, mix: Mix, description: Description, scene: Scene) -> np.ndarray:
    """A drawing that is right or wrong, as a coin falls."""
    return render(scene) if rng.random() < 0.5 else _wrong(rng, mix, description, scene)


def _wrong(rng: random.Random, mix: Mix, description: Description, scene: Scene) -> np.ndarray:
    """A drawing with one defect, or wrong throughout, which is learnt first."""
    return mistake(rng, description) if rng.random() < mix.obvious else _spoilt(rng, mix, description, scene)


def _spoilt(rng: random.Random, mix: Mix, description: Description, scene: Scene) -> np.ndarray:
    kinds = RELATION_DEFECTS if description.relations and rng.random() < mix.misplaced else tuple(DEFECTS)
    return spoil(rng, description, scene, kinds)[1]


_MAKERS = {
    "draw": _draw,
    "follow": _follow,
    "judge": _judge,
    "redraw": _redraw,
    "edit": _edit,
}
_OWN_MAKERS = {"judge": _judge_own, "redraw": _redraw_own}


def reflect(rng: random.Random, description: Description, image: np.ndarray) -> str:
    """Verdict and reason, as the verifier sees it: “No, the car is red, not blue.”"""
    facts = check(description, read(image))
    verdict = "Yes" if accepted(facts) else "No"
    return verdict + write_reason(description, facts, rng)


def noisy(rng: random.Random, image: np.ndarray, most: float) -> np.ndarray:
    """Pixel noise of a random strength, so that the judge is used to a codec's small errors."""
    sigma = rng.random() * most
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)

"""Notices below buttons, HTML escaped."""

from annotations.queue.progress import ProjectCounts
from annotations.schema.project import Project
from studio.components.render import escaped, sentence


def error_notice(words: str) -> str:
    """What went wrong, a line for each line."""
    lines = "<br>".join(escaped(line) for line in sentence(words).splitlines())
    return f'<p class="wrong" role="alert">{lines}</p>'


def success_notice(words: object) -> str:
    return f'<p class="done" role="status">{escaped(str(words))}</p>'


def practice_missing(project: Project, counts: ProjectCounts) -> str:
    """Where a project begins with more items of practice than it has: so, and how an admin appoints them."""
    if counts.practice >= project.practice:
        return ""
    has = "none is" if counts.practice == 0 else f"only {counts.practice:,} {'is' if counts.practice == 1 else 'are'}"
    review = f'<a href="review?project={escaped(project.id)}">Review</a>'
    items = "one practice item" if project.practice == 1 else f"{project.practice:,} practice items"
    how = (
        f"On {review}, decide an item, or take one that all answered alike; then press “Use for practice” below it."
        if counts.answers
        else f"Nobody has answered anything yet, so no right answer is known. Answer the first items yourself; then "
        f"press “Use for practice” below them on {review}."
    )
    return f'<p class="practice">Who is new here should begin with {items}, but {has} appointed. {how}</p>'

"""Notices below buttons, HTML escaped."""

from annotations.schema.project import Project
from studio.components.render import escaped, sentence


def error_notice(words: str) -> str:
    """What went wrong, a line for each line."""
    lines = "<br>".join(escaped(line) for line in sentence(words).splitlines())
    return f'<p class="wrong" role="alert">{lines}</p>'


def success_notice(words: object) -> str:
    return f'<p class="done">{escaped(str(words))}</p>'


def practice_missing(project: Project, there: int) -> str:
    """Where a project begins with more items of practice than the `there` it has: so, and where they are appointed."""
    if there >= project.practice:
        return ""
    has = "none is" if there == 0 else f"only {there:,} {'is' if there == 1 else 'are'}"
    review = f'<a href="review?project={escaped(project.id)}">Review</a>'
    items = "one practice item" if project.practice == 1 else f"{project.practice:,} practice items"
    return (
        f'<p class="practice">Who is new here should begin with {items}, but {has} '
        f"appointed. Appoint them on {review}, once somebody has answered: decide an item, then “Use for practice”.</p>"
    )

"""The list of pages: address, title, place in the menu, and the role that may use it.

The page at an address is built by the module that `pages` names for it. Imports neither Gradio nor a page.
"""

from typing import NamedTuple

from annotations.schema.project import Role


class PageEntry(NamedTuple):
    """One page. Anybody may open it and is told how to sign in; its handlers answer only those in the role."""

    path: str  # below the studio's address
    title: str
    menu: str | None  # its name in the menu; None: it is not in it
    role: Role
    shown_as: str = ""  # the menu's entry that is marked as current, where that is another page's
    until: Role | None = None  # the menu does not show it to who may do this: another page tells them more


PAGES = (
    PageEntry("", "Aha Studio", "Draw", Role.VISITOR),
    PageEntry("image", "Your image", "Image", Role.VISITOR),
    PageEntry("compare", "Side by side", "Compare", Role.VISITOR),
    PageEntry("gallery", "Gallery", "Gallery", Role.VISITOR),
    PageEntry("annotate", "Annotate", "Annotate", Role.ANNOTATOR),
    PageEntry("arena", "Arena", "Arena", Role.ANNOTATOR),
    PageEntry("review", "Review", "Review", Role.REVIEWER),
    PageEntry("results", "Results", "Results", Role.GUEST, until=Role.REVIEWER),
    PageEntry("projects", "Projects", "Projects", Role.REVIEWER),
    PageEntry("project", "Project", None, Role.REVIEWER, shown_as="projects"),
    PageEntry("datasets", "Datasets", "Datasets", Role.ADMIN),
    PageEntry("calibration", "Calibration", "Calibration", Role.ADMIN),
    PageEntry("training", "Training", "Training", Role.ADMIN),
    PageEntry("people", "People", "People", Role.ADMIN),
    PageEntry("moderation", "Moderation", None, Role.ADMIN, shown_as="people"),
    PageEntry("sign-in", "Sign in", None, Role.VISITOR),
)

"""Who asks for a page that is not for visitors, and in which role. The one place where these pages ask.

Knows what `identity` knows: whoever can connect to a studio of mode local is the person at the machine, who may do
everything; in mode public nobody may.
"""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from annotations.project import Role
from studio.identity import annotator_name
from studio.settings import Settings


@dataclass(frozen=True)
class Asking:
    """A person who may."""

    name: str
    role: Role

    @property
    def sees_names(self) -> bool:
        """Whether others are shown by their names, not by pseudonyms."""
        return self.role is Role.ADMIN


def require(request: gr.Request | None, settings: Settings, least: Role) -> Asking:
    """Refuse whoever is less than that. Raises gr.Error."""
    return Asking(annotator_name(request, settings), Role.ADMIN)

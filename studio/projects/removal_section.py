"""The section of a project's page that archives or deletes it; says beforehand what happens to its answers."""

from collections.abc import Callable

import gradio as gr

from annotations.errors import AnnotationsError, redact_paths
from annotations.ops.project_removal import archive, contents, delete, take_out
from annotations.schema.names import confusable_skeleton
from annotations.schema.project import Project, Role
from annotations.store.store import Store
from studio.auth.identity import PageHandlers
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, QUICK
from studio.components.render import escaped


def consequences(store: Store, project: Project) -> str:
    """What archiving and deleting a project does, as HTML."""
    held = contents(store, project.id)
    number = f"{held.items:,} items, {held.answers:,} answers of {held.people:,} people, {held.gold:,} gold or practice"
    back = "It is in the archive now, and can be taken out." if project.archived_at else "It can be taken out again."
    return (
        f"<p>“<bdi>{escaped(project.name)}</bdi>” holds {number}.</p><ul>"
        "<li><b>Archive</b>: nobody is asked any more and it leaves the lists. All answers stay, and are exported. "
        f"{back}</li><li><b>Delete</b>: nobody sees it or its answers any more, and no export from now on holds them; "
        "drawings stay, and so does what exports and checkpoints were made of before. It cannot be undone.</li></ul>"
    )


class RemovalHandlers(PageHandlers):
    """The handlers of the section. Each checks who is asking."""

    def archive(self, project_id: str, request: gr.Request) -> tuple[str, str]:
        """(what archiving and deleting does, a line)."""
        return self._changed(archive, project_id, "It is in the archive now.", request)

    def take_out(self, project_id: str, request: gr.Request) -> tuple[str, str]:
        """(what archiving and deleting does, a line)."""
        return self._changed(take_out, project_id, "It is in the lists, closed; open it above.", request)

    def _changed(
        self, change: Callable[[Store, str], Project], project_id: str, words: str, request: gr.Request
    ) -> tuple[str, str]:
        self.require(Role.ADMIN, request)
        try:
            project = change(self.store, project_id)
        except AnnotationsError as error:
            return gr.skip(), error_notice(redact_paths(error))
        return consequences(self.store, project), success_notice(words)

    def delete(self, project_id: str, name: str | None, request: gr.Request) -> tuple[str, str]:
        """(what archiving and deleting does, a line). Its name has to be typed."""
        self.require(Role.ADMIN, request)
        try:
            project = self.store.project(project_id)
            if confusable_skeleton(name or "") != confusable_skeleton(project.name):
                return gr.skip(), error_notice(
                    f"Nothing is deleted. Type the name of the project to delete it: {project.name}"
                )
            delete(self.store, project_id)
        except AnnotationsError as error:
            return gr.skip(), error_notice(redact_paths(error))
        return "", success_notice("It is deleted. Its answers are in no page and no export from now on.")


def removal_section(handlers: RemovalHandlers, project: gr.State) -> gr.HTML:
    """Build the section; what shows the consequences."""
    with gr.Accordion("Archive or delete", open=False, elem_id="project-removal"):
        told = gr.HTML(elem_id="project-consequences", **PLAIN)
        with gr.Row(elem_classes="adding"):
            into = gr.Button("Archive", min_width=120, elem_id="project-archive")
            out = gr.Button("Take out of the archive", min_width=200, elem_id="project-take-out")
            name = gr.Textbox(label="Its name, to delete it", max_lines=1, scale=2, elem_id="project-delete-name")
            away = gr.Button("Delete", variant="stop", min_width=120, elem_id="project-delete")
        note = gr.HTML(**PLAIN)
    into.click(handlers.archive, [project], [told, note], **QUICK)
    out.click(handlers.take_out, [project], [told, note], **QUICK)
    away.click(handlers.delete, [project, name], [told, note], **QUICK)
    return told

"""The import endpoint for programs, with errors per row.

The importer does the work. An admin asks; a file that is not one they have just uploaded is not looked at.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from annotations.errors import AnnotationsError, redact_paths
from annotations.importing.importer import rehearse
from annotations.importing.source_tables import laid_out
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.auth.identity import require
from studio.projects import item_sources
from studio.projects.import_uploads import import_uploads
from studio.projects.item_sources import FillingError
from studio.settings import Settings


def build(store: Store, settings: Settings) -> None:
    """Make the endpoint, within a gr.Blocks."""

    def import_records(
        request: gr.Request,
        files: list[dict],
        format: str,
        dry_run: bool = False,
        leave_out_bad: bool = False,
        drawn_by: str = "",
        project: str = "",
    ) -> dict:
        """Import trajectories and images made elsewhere: all rows or none. For admins.

        Returns how many `records` were stored as how many `trajectories`, how many were there `already`, how many new
        ones are `good`, the name of the `batch`, and the `errors`: row, place, what was got, what was wanted.

        Args:
            files: uploaded files (`handle_file`): the records and their pictures, or a zip of both; removed when done
            format: ours, janus_sft, folder, pickapic or richhf
            dry_run: read and check everything, and store nothing
            leave_out_bad: import the good rows although others are bad
            drawn_by: name of the model that drew, where the records do not say
            project: id of a project that what was imported is put into
        """
        admin = require(Role.ADMIN, request, settings, store)
        try:
            target = store.project(project) if project else None
            paths, options = uploaded(files), {"drawn_by": drawn_by or None}
            if dry_run:
                with laid_out(paths, format) as sources:
                    return rehearse(store, sources, format, **options).to_dict()
            report = import_uploads(store, paths, format, owner=admin.name, leave_out_bad=leave_out_bad, **options)
            new_items = 0
            if target and report.records:
                new_items = item_sources.add(store, target, store.imported(report.batch)).new
            return report.to_dict() | {"items": new_items}
        except (AnnotationsError, FillingError) as error:
            raise gr.Error(redact_paths(error)) from error

    gr.api(import_records, concurrency_limit=1)


def uploaded(files: Sequence[Any]) -> list[Path]:
    """Where uploaded files lie. Raises FillingError for others: a path alone could name any file of the server."""
    folder, paths = Path(get_upload_folder()).resolve(), []
    for file in files if isinstance(files, list) else [files]:
        path = Path(str(file.get("path", ""))).resolve() if isinstance(file, dict) else folder
        if not path.is_relative_to(folder) or not path.is_file():
            raise FillingError("got something that is no uploaded file; give handle_file(PATH), of gradio_client")
        paths.append(path)
    return paths

"""Pushes an export to a dataset repository of the Hub, with the token of whoever asks; private unless told not to."""

from __future__ import annotations

from pathlib import Path

import httpx2
from huggingface_hub import HfApi

from annotations.errors import ExportError
from annotations.export.manifest import read_manifest


def push(folder: Path, repository: str, token: str | None, *, private: bool = True, endpoint: str | None = None) -> str:
    """The address of the repository `NAME/REPOSITORY`, which is made where there is none and keeps its visibility where
    there is one. The token is neither kept nor said; `endpoint`: of another Hub than the usual one. Raises ExportError.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise ExportError(f"{folder} is no export; export first, then push it")
    if not token:
        raise ExportError("got no token of the Hub; make one that may write at huggingface.co/settings/tokens")
    api = HfApi(endpoint=endpoint, token=token)
    try:
        made = api.create_repo(repository.strip(), repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            folder_path=folder,
            repo_id=made.repo_id,
            repo_type="dataset",
            commit_message=f"{manifest.kind}: {manifest.examples} rows",
            delete_patterns=["*.parquet", "*.jsonl", "*.tar", "*.txt"],  # of an earlier export
        )
    except (httpx2.HTTPError, OSError, ValueError) as error:
        lines = [str(error).partition("\n")[0], getattr(error, "server_message", None) or ""]
        reason = " ".join(" ".join(lines).replace(token, "…").split())
        raise ExportError(f"the Hub did not take {repository.strip()[:100]}: {reason}") from error
    return str(made)

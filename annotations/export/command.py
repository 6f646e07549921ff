"""`python -m annotations.export`: the options of an export, and its progress.

python -m annotations.export --kind judge_sft --out my-dataset
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

from annotations.db.engine import default_directory, default_pictures, default_url
from annotations.errors import AnnotationsError, ExportError
from annotations.export.changes import changes
from annotations.export.exporter import export
from annotations.export.push import push
from annotations.export.query import Aggregation, Query, Split, moment
from annotations.export.registry import KINDS
from annotations.store.store import open_store_for_reading

SHOWN_EVERY = 100  # trajectories


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        with open_store_for_reading(arguments.data or default_directory(), default_url(), default_pictures()) as store:
            manifest = export(store, arguments.kind, arguments.out, _show_progress, query_of(arguments))
        diff = changes(arguments.diff, arguments.out) if arguments.diff else None
        pushed = ""
        if arguments.push:
            pushed = push(arguments.out, arguments.push, get_token(), private=not arguments.public)
    except AnnotationsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(manifest.to_dict() | ({} if diff is None else {"diff": vars(diff)}), ensure_ascii=False))
    else:
        print(f"{manifest.examples} examples written to {arguments.out} ({manifest.sha256[:12]}…)")
        if diff is not None:
            print(diff)
        if pushed:
            print(f"pushed to {pushed}")
    return 0


def _parser() -> argparse.ArgumentParser:
    usual = Query()
    parser = argparse.ArgumentParser(
        prog="python -m annotations.export",
        description="Exports what people said to a folder that trainers take.",
        epilog="\n".join(f"{kind.name:<24}{kind.title}" for kind in KINDS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--kind", choices=KINDS, required=True, metavar="KIND", help="one of those below")
    add("--out", type=Path, required=True, help="folder to write; an earlier export is replaced")
    add("--data", type=Path, help="data folder of the studio (default: its usual place)")
    add("--project", action="append", default=[], help="only this project (again for more)")
    add("--annotator", action="append", default=[], help="only this person, by name or pseudonym (again for more)")
    add("--checkpoint", action="append", default=[], help="only what this checkpoint drew (again for more)")
    add("--category", action="append", default=[], help="only prompts of this category (again for more)")
    add("--since", type=_moment, help="only answers from this day or moment on (ISO 8601, UTC)")
    add("--until", type=_moment, help="only answers before it")
    add("--own-words", action="store_true", help="only texts that a person wrote")
    add(
        "--aggregate",
        choices=list(Aggregation),
        default=usual.aggregation,
        help="how what several people said becomes one label (default: %(default)s)",
    )
    add("--min-agreement", type=float, default=usual.min_agreement, help="of the label's votes (default: %(default)s)")
    add("--good", type=float, default=usual.good, help="a rating is good from here up its scale (default: %(default)s)")
    add("--bad", type=float, default=usual.bad, help="a rating is bad up to here (default: %(default)s)")
    add(
        "--min-rating-difference",
        type=float,
        default=usual.min_rating_difference,
        help="of two trajectories' mean ratings, to make a pair of a prompt's drawings (default: %(default)s)",
    )
    add("--split", action="append", type=_split, default=[], metavar="NAME:SHARE", help="such as validation:0.1")
    add("--seed", type=int, default=usual.seed, help="of the splits")
    add("--licence", default="", help="SPDX identifier for the dataset card")
    add("--diff", type=Path, metavar="OLD", help="say what changed since this earlier export")
    add("--push", metavar="NAME/REPOSITORY", help="then to the Hub, with the token of HF_TOKEN or `hf auth login`")
    add("--public", action="store_true", help="a repository that is made for it may be read by everybody")
    add("--json", action="store_true", help="print the manifest as JSON")
    return parser


def query_of(arguments: argparse.Namespace) -> Query:
    """Raises ExportError for what cannot be asked for."""
    return Query(
        projects=tuple(arguments.project),
        annotators=tuple(arguments.annotator),
        checkpoints=tuple(arguments.checkpoint),
        categories=tuple(arguments.category),
        since=arguments.since,
        until=arguments.until,
        own_words=arguments.own_words,
        aggregation=Aggregation(arguments.aggregate),
        min_agreement=arguments.min_agreement,
        good=arguments.good,
        bad=arguments.bad,
        min_rating_difference=arguments.min_rating_difference,
        splits=tuple(arguments.split),
        seed=arguments.seed,
        licence=arguments.licence,
    )


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ExportError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _split(text: str) -> Split:
    name, _, share = text.partition(":")
    try:
        return Split(name, float(share))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no split; wanted NAME:SHARE, such as validation:0.1") from None


def _show_progress(done: int, total: int) -> Any:
    if total and (done % SHOWN_EVERY == 0 or done == total):
        print(f"{done} of {total} trajectories", file=sys.stderr)

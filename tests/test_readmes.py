"""The README is two screens, and each package's README has the tree of its files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {".py", ".js", ".css", ".c", ".jsonl", ".md"}
LEFT_OUT = {"__init__.py", "README.md"}
FOLDERS_LEFT_OUT = {"__pycache__", "versions", "weights", "fonts", "screenshots"}
MARGIN = 40  # columns from which on a line goes on with the description of the one before
MOST_FILES = 16  # in one folder


def files_of(package: Path) -> set[str]:
    """Source files of a package, relative to it."""
    return {
        file.relative_to(package).as_posix()
        for file in package.rglob("*")
        if file.suffix in SOURCES and file.name not in LEFT_OUT and not FOLDERS_LEFT_OUT & {*file.parts}
    }


def files_in_tree(text: str) -> set[str]:
    """The files that the tree in a README names."""
    found, folders = set(), []
    for line in text.split("## The tree", 1)[1].split("\n\n", 2)[1].splitlines():
        indent = len(line) - len(line.lstrip())
        if indent >= MARGIN:
            continue
        depth = (indent - 4) // 2
        folders = folders[:depth]
        names = re.match(r"[\w.]+/?(?:, [\w.]+)*", line.strip())[0]
        if names.endswith("/"):
            folders.append(names)
        else:
            found |= {"".join(folders) + name for name in names.split(", ")}
    return found


@pytest.mark.parametrize("package", ["model", "annotations", "studio"])
def test_the_tree_in_a_packages_readme_names_its_files(package: str):
    assert files_in_tree((ROOT / package / "README.md").read_text("utf-8")) == files_of(ROOT / package)


def test_the_readme_is_two_screens_and_its_links_lead_somewhere():
    front, text = (ROOT / "README.md").read_text("utf-8").split("---\n", 2)[1:]
    assert front.strip() and len(text.splitlines()) <= 120
    for readme in (ROOT / "README.md", *(ROOT / name / "README.md" for name in ("model", "annotations", "studio"))):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", readme.read_text("utf-8")):
            assert link.startswith("http") or (readme.parent / link).exists(), f"{readme}: {link}"


def test_no_folder_has_more_source_files_than_one_looks_through():
    for folder in {file.parent for name in ("model", "annotations", "studio") for file in (ROOT / name).rglob("*.py")}:
        if folder.name != "versions":
            assert (count := len(list(folder.glob("*.py")))) <= MOST_FILES, f"{folder}: {count}"


@pytest.mark.parametrize("package", ["model", "annotations", "studio"])
def test_every_path_to_look_at_is_there(package: str):
    table = (ROOT / package / "README.md").read_text("utf-8").split("## Where to look", 1)[1].split("\n## ", 1)[0]
    folder, paths = ROOT / package, re.findall(r"`([\w/.]+(?:/|\.py|\.js|\.yaml))`", table)
    assert len(paths) > 10
    for path in paths:
        named = re.sub(r"/?(NAME|KIND)\.\w+$", "", path)  # any file of a folder
        there = (folder / named).exists() or (ROOT / named).exists()
        assert there or ("/" not in path and any(folder.rglob(path))), path

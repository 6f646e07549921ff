"""Fingerprint of a folder by names, sizes and times of its files; it changes when the folder is saved again."""

from pathlib import Path


def folder_stamp(folder: Path) -> list[tuple[str, int, int]]:
    """By name, bytes and time of change (ns) of each file; empty where there is no such folder."""
    stats = []
    for file in sorted(folder.glob("*")):
        try:
            if file.is_file():
                stats.append((file.name, file.stat().st_size, file.stat().st_mtime_ns))
        except FileNotFoundError:  # replaced at this moment
            continue
    return stats

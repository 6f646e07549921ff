"""Generate trajectories: `python -m model.generate "two red apples" --seed 0 --rounds 3 --out DIR`

Writes trajectory.json and one PNG per image, and shows progress on stderr. `--json` prints every event as one line;
`--prompts FILE` takes one prompt per line and makes them all in one batch, each in a folder of its own: by several
processes (`accelerate launch`, `torchrun`) each its share, and with `--resume` only what is not there yet.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from model.atomic_files import write_whole
from model.backends.checkpoint.loading import DTYPES
from model.backends.contract import Backend, CheckpointError, UnavailableError
from model.backends.registry import DEFAULT, open_backend
from model.backends.request import Request, RequestError, Task
from model.distributed.command_line import ending_in_a_line
from model.distributed.processes import join_processes
from model.distributed.prompt_file import read_prompt_file
from model.events import (
    Event,
    Failed,
    FrameAdded,
    ImageCodesAdded,
    Preview,
    SegmentFinished,
    SegmentStarted,
    TextAdded,
    TrajectoryFinished,
    TrajectoryStarted,
    Verdict,
    advance,
)
from model.trajectory import StopReason, Trajectory

FILE = "trajectory.json"  # of a trajectory's folder
PICTURE = re.compile(r"image-\d+(-frame-\d+)?\.png")  # that is written beside it


def main() -> None:
    arguments = parser().parse_args()
    going_on = "with --resume the same command makes what is left"
    expected = (CheckpointError, RequestError, UnavailableError, OSError)
    with ending_in_a_line("generate", *expected, interrupted=going_on):
        processes, prompts = join_processes(), read_prompts(arguments)
        device = processes.device(arguments.device)
        backend = open_backend(arguments.checkpoint, device=device, dtype=arguments.dtype)
        requests = processes.share([request(backend, prompt, arguments) for prompt in prompts])
        folders = {each.id: output_folder(each, arguments.out, len(prompts)) for each in requests}
        if arguments.resume:
            requests = [each for each in requests if not is_made(each, folders[each.id], backend.name)]
        if arguments.source is None or arguments.judge:
            warn(backend, [each.prompt for each in requests])
        events = backend.rollout(requests, at_once=arguments.batch)
        if arguments.json:
            events = printing(events)
        elif len(prompts) == 1:
            events = narrating(events)
        elif processes.is_first:
            events = counting(events, len(requests))
        failed = write(events, folders)
    if failed:
        sys.exit(f"generate: {failed} of {len(requests)} failed; what they had drawn is in {arguments.out}")


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m model.generate", description="Think, draw, judge, redraw: make trajectories."
    )
    result.add_argument("prompt", nargs="?", help="what to draw, e.g. “two red apples”")
    result.add_argument("--prompts", type=Path, help="a text file with one prompt per line, instead of PROMPT")
    result.add_argument("--checkpoint", default=DEFAULT, help="a folder or Hub id (default: embedded)")
    result.add_argument("--device", help="cpu, cuda, cuda:1, mps, or auto: over all GPUs (default: the first there is)")
    result.add_argument("--dtype", choices=DTYPES, help="(default: float32 on a CPU, bfloat16 elsewhere)")
    result.add_argument("--out", type=Path, default=Path("trajectories"), help="folder to write to")
    result.add_argument("--seed", type=int, default=0, help="of the first prompt; the next ones count up")
    result.add_argument("--rounds", type=int, default=3, help="images at most")
    result.add_argument("--guidance", type=float, help="classifier-free guidance weight (default: the checkpoint's)")
    result.add_argument("--temperature", type=float, help="of image codes (default: the checkpoint's)")
    result.add_argument("--text-temperature", type=float, help="of thoughts, verdicts and reasons; 0 is greedy")
    result.add_argument("--source", type=Path, help="an image to edit; the prompt is the instruction")
    result.add_argument("--judge", action="store_true", help="judge the image of --source: does it show the prompt?")
    result.add_argument("--no-thought", action="store_true", help="draw without a thought first")
    contexts = "contexts as in Janus-Pro-R1's published code: earlier images encoded anew, a position left out"
    own = " (default: where the checkpoint is in DeepSeek's layout, or was converted from it)"
    result.add_argument(
        "--published-contexts", "--official", action=argparse.BooleanOptionalAction, help=contexts + own
    )
    result.add_argument("--batch", type=int, default=16, help="trajectories at once")
    result.add_argument("--resume", action="store_true", help="leave out what --out has of the same run already")
    result.add_argument("--json", action="store_true", help="print every event as a line of JSON")
    return result


def read_prompts(arguments: argparse.Namespace) -> list[str]:
    if (arguments.prompt is None) == (arguments.prompts is None):
        raise RequestError("give either a prompt or --prompts FILE")
    if arguments.judge and arguments.source is None:
        raise RequestError("--judge looks at an image; give it as --source FILE")
    return [arguments.prompt] if arguments.prompts is None else read_prompt_file(arguments.prompts)


def request(backend: Backend, prompt: str, arguments: argparse.Namespace) -> Request:
    names = ("guidance", "temperature", "text_temperature", "published_contexts")
    options = {name: getattr(arguments, name) for name in names}
    sampling = replace(backend.sampling, **{key: value for key, value in options.items() if value is not None})
    sampling = replace(sampling, thinks=sampling.thinks and not arguments.no_thought)
    seed, arguments.seed = arguments.seed, arguments.seed + 1
    preview_every = 4 if arguments.json else None
    task = Task.DRAW if arguments.source is None else Task.JUDGE if arguments.judge else Task.EDIT
    source = None if arguments.source is None else backend.read_source(arguments.source, task)
    return Request(prompt, seed, arguments.rounds, sampling, preview_every, task=task, source=source)


def warn(backend: Backend, prompts: Iterable[str]) -> None:
    """What the backend may not know is drawn all the same, and said."""
    for prompt in filter(str.strip, prompts):
        if (warning := backend.warning(prompt)) is not None:
            print(f"“{prompt[:80]}”: {warning}. It is drawn as well as it can be.", file=sys.stderr)


def output_folder(request: Request, out: Path, count: int) -> Path:
    """The folder of a trajectory: of several each its own, named by its seed."""
    return out / f"{request.seed:05d}" if count > 1 else out


def is_made(request: Request, folder: Path, checkpoint: str) -> bool:
    """Whether a folder has a finished trajectory of this request, made by a checkpoint of this name."""
    try:
        made = Trajectory.from_dict(json.loads((folder / FILE).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    expected = (request.prompt, request.seed, request.rounds, request.sampling, checkpoint)
    same = (made.prompt, made.seed, made.rounds, made.sampling, made.checkpoint) == expected
    return same and made.stop_reason not in (None, StopReason.FAILED, StopReason.CANCELLED)


def write(events: Iterable[Event], folders: Mapping[str, Path]) -> int:
    """Follow the events and write every trajectory as it ends into its folder; returns how many failed."""
    trajectories: dict[str, Trajectory] = {}
    pictures: dict[str, list[FrameAdded | Preview]] = {}
    failed = 0
    for event in events:
        key = event.trajectory_id
        trajectories[key] = advance(trajectories.get(key), event)
        match event:
            case FrameAdded() | Preview(whole=True):
                pictures.setdefault(key, []).append(event)
            case TrajectoryFinished() | Failed():
                failed += isinstance(event, Failed)
                save(trajectories.pop(key), pictures.pop(key, []), folders[key])
    return failed


def save(trajectory: Trajectory, pictures: list[FrameAdded | Preview], folder: Path) -> None:
    """Pictures and trajectory, in the place of an earlier one's in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / FILE).exists():
        for path in filter(lambda path: PICTURE.fullmatch(path.name), folder.iterdir()):
            path.unlink(missing_ok=True)
    image, frame = 1, 1
    for event in pictures:
        name = f"image-{image}" if isinstance(event, Preview) else f"image-{image}-frame-{frame:02d}"
        image, frame = (image + 1, 1) if isinstance(event, Preview) else (image, frame + 1)
        write_whole(folder / f"{name}.png", event.png, mode=0o644)
    text = json.dumps(trajectory.to_dict(), ensure_ascii=False, indent=2)
    write_whole(folder / FILE, text + "\n", mode=0o644)  # last: where it is, the images are


def printing(events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        print(json.dumps(event.to_dict(), ensure_ascii=False), flush=True)
        yield event


def narrating(events: Iterable[Event]) -> Iterator[Event]:
    """Tell one trajectory as it happens, on stderr."""
    total, drawn = 0, 0
    for event in events:
        match event:
            case TrajectoryStarted():
                total = event.image_codes
                say(f"“{event.prompt}”, seed {event.seed}, {event.checkpoint}\n")
            case SegmentStarted(kind="thought"):
                say("thinks:")
            case SegmentStarted(kind="image"):
                drawn += 1
            case TextAdded():
                say(event.text)
            case ImageCodesAdded():
                say(f"\rdraws image {drawn}: {event.start + len(event.codes)} of {total}")
            case FrameAdded():
                say(f"\rdraws image {drawn}: {event.share:.0%}")
            case Verdict():
                say(f"judges (p_yes {event.p_yes:.2f}): ")
            case SegmentFinished():
                say("\n")
            case TrajectoryFinished():
                say(f"ends: {event.stop_reason}\n")
            case Failed():
                say(f"\nfailed: {event.error}\n")
        yield event


def counting(events: Iterable[Event], total: int) -> Iterator[Event]:
    done = 0
    for event in events:
        if isinstance(event, TrajectoryFinished | Failed):
            done += 1
            say(f"\r{done} of {total} trajectories")
        yield event
    say("\n")


def say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

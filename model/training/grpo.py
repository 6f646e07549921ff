"""GRPO over trajectories: grouped rollouts, image and verdict rewards, KL, clipped policy gradient.

    python -m model.training.grpo --checkpoint SFT --steps 300 --out DIR

Group relative policy optimisation over whole trajectories (GRPO; Janus-Pro-R1, §3.2): a group of rollouts of one
prompt, R_Gen + R_Comp, one advantage over the trajectory, KL to the checkpoint it started from. Thoughts are trained
with the rest (T2I-R1). The world's referee gives R_QA; it is never part of the policy.

The loop is flat: roll out, reward, step, log, save. On accelerate; `--resume` continues where the last save stood, and
what is drawn depends on the seed, the step and the number of processes alone.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from model.backends.checkpoint import EMBEDDED, CheckpointError, open_checkpoint
from model.backends.janus import Janus
from model.training.actions import Action, Choices, Scored, score
from model.training.attention import attend_in_blocks
from model.training.dataset import DataError, fingerprint_of
from model.training.embedded.own_drafts import OwnDraft, read_drafts
from model.training.optimization import (
    TrainingError,
    check_finite,
    descend,
    new_optimizers,
    new_schedules,
    own_part,
    summed,
    trainable,
)
from model.training.prompts import PromptFileError, prompts_at, read_prompts
from model.training.rewards import RewardError, advantages
from model.training.rollouts import Rollout, contact_sheet, roll_out, starts_of, statistics, wrong_drafts
from model.training.run_folder import Run, RunPaths, RunStart, add_beginning, beginning_of, reporting
from model.training.run_state import fingerprint
from model.training.settings import add_settings, settings_of
from model.training.sft import LessonSource, teach, world_source, write_checkpoint
from model.training.training_sequences import TrainingSequence
from model.trajectory import Image, Reflection, Trajectory
from model.world.language import Description, write

REWARDS = ("both", "drawing", "judging")
ADVANTAGES = ("together", "separate")


@dataclass(frozen=True)
class Settings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 300
    prompts: int = 8  # per step
    group: int = 8  # rollouts of one beginning
    mending: int = 0  # of these wrong drawings, at most, another group begins, in every process
    rounds: int = 3  # images at most: the paper's T
    thinking: float = 0.15  # share of prompts that are drawn with a thought first; nearly all succeed with one,
    thinking_hard: float = 0.85  # and nearly no hard ones without: who always or never succeeds learns nothing
    reward: str = "both"  # of REWARDS; the others are ablations
    truth: float = 0.0  # of R_Comp's 1 per image, what a reason that is not true takes; the paper has none
    rehearsal: int = 0  # lessons of supervised fine-tuning beside the rollouts, per step: what these never meet is kept
    rehearsal_share: float = 0.1  # their loss is multiplied by
    advantages: str = "together"  # one of R_Gen + R_Comp; or, as the released code, each part of a trajectory its own
    learning_rate: float = 3e-5  # peak; see `schedule`
    warmup: int = 10  # steps
    weight_decay: float = 0.0
    beta: float = 0.04  # weight of the KL divergence to the reference
    clip_ratio: float = 0.2  # of the probability ratio, where a batch is used more than once
    updates: int = 1  # steps per batch of rollouts
    clip: float = 1.0  # gradient norm
    micro_batch: int = 16  # streams per forward pass
    precision: str = "no"  # or bf16; of what is learnt from, the rollouts stay exact
    save_every: int = 25  # steps; 0 only at the end
    seed: int = 0


def advantages_of(group: Sequence[Rollout], settings: Settings) -> list[list[float]] | None:
    """An advantage for every segment of every rollout of a group; None where there is nothing to learn."""
    gen = [one.generation(settings.rounds) for one in group]
    comp = [one.comprehension(settings.rounds, settings.truth) for one in group]
    nothing = [0.0] * len(group)
    if settings.advantages == "together":
        drawing, judging = settings.reward != "judging", settings.reward != "drawing"
        whole = advantages([drawing * one + judging * other for one, other in zip(gen, comp, strict=True)])
        return whole and [[a] * len(one.trajectory.segments) for a, one in zip(whole, group, strict=True)]
    parts = (
        advantages([one.fits[0] for one in group]) if settings.reward != "judging" else None,
        advantages([one.fits[-1] for one in group]) if settings.reward != "judging" else None,
        advantages(comp) if settings.reward != "drawing" else None,
    )
    if parts == (None, None, None):
        return None
    first, last, judged = (part or nothing for part in parts)
    return [
        [judged[i] if at is None else first[i] if at == 0 else last[i] for at in _images_at(one.trajectory)]
        for i, one in enumerate(group)
    ]


def _images_at(trajectory: Trajectory) -> list[int | None]:
    """For every segment the number of the image it draws or plans, None for a reflection."""
    numbers, drawn = [], 0
    for segment in trajectory.segments:
        numbers.append(None if isinstance(segment, Reflection) else drawn)
        drawn += isinstance(segment, Image)
    return numbers


@dataclass(frozen=True)
class GradedSequence:
    """A stream to learn from: its actions' advantages follow from their segments."""

    stream: Choices
    advantages: Sequence[float]  # per segment of the trajectory
    weight: float  # of each action: the mean over a trajectory's, then over trajectories


def graded_of(groups: Sequence[Sequence[Rollout]], settings: Settings) -> tuple[list[GradedSequence], int]:
    """The streams of all groups that have something to teach, and how many groups had not."""
    kept, skipped = [], 0
    for group in groups:
        given = advantages_of(group, settings)
        if given is None:
            skipped += 1
            continue
        for one, segments in zip(group, given, strict=True):
            actions = sum(len(stream.text) + len(stream.codes) for stream in one.streams)
            kept += [
                GradedSequence(stream, segments, 1 / actions) for stream in one.streams if stream.text or stream.codes
            ]
    return kept, skipped


def policy_loss(
    new: torch.Tensor,
    old: torch.Tensor,
    reference: torch.Tensor,
    advantage: torch.Tensor,
    beta: float,
    clip: float,
    untruncated: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per action: the clipped policy loss plus β·KL, and the KL (k3: π_ref/π − log(π_ref/π) − 1). All (A,).

    The KL is of `untruncated` (default: `new`) and `reference`, distributions without top-k: a token that the reference
    has below its top k would be infinitely far away. An action that rounding has put below the own top k (`old` is
    −inf) has no ratio, and adds nothing but its KL.
    """
    possible = old > -torch.inf
    ratio = torch.where(possible, new - old, 0.0).exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    surrogate = torch.where(possible, surrogate, 0.0)
    apart = reference - (new if untruncated is None else untruncated)
    divergence = apart.exp() - apart - 1
    return beta * divergence - surrogate, divergence


def learn(
    janus: Janus,
    reference: Janus,
    graded: Sequence[GradedSequence],
    settings: Settings,
    accelerator: Accelerator,
    optimizers: Sequence[torch.optim.Optimizer],
    parameters: Sequence[torch.nn.Parameter],
    rehearsed: Sequence[TrainingSequence] = (),
) -> dict[str, float]:
    """`settings.updates` steps on one batch of rollouts; returns means over actions of the last one."""
    ordered = sorted(graded, key=lambda one: one.stream.length)
    parts = [ordered[i : i + settings.micro_batch] for i in range(0, len(ordered), settings.micro_batch)]
    [total] = summed(accelerator, [sum(one.weight * len(_actions(one)) for one in graded)])
    before: list[tuple[torch.Tensor, torch.Tensor]] = []
    for update in range(settings.updates):
        sums, count = torch.zeros(3), 0
        for number, part in enumerate(parts):
            with accelerator.autocast():
                found = score(janus, [one.stream for one in part])
            if update == 0:
                with torch.no_grad(), accelerator.autocast():
                    known = score(reference, [one.stream for one in part]).untruncated
                before.append((found.log_probs.detach(), known))
            advantage, weight = _per_action(part, found)
            old, known = before[number]
            loss, divergence = policy_loss(
                found.log_probs, old, known, advantage, settings.beta, settings.clip_ratio, found.untruncated
            )
            accelerator.backward((loss * weight).sum() / max(total, 1e-9))
            sums += torch.stack([loss.sum(), divergence.sum(), found.entropies.sum()]).detach().cpu()
            count += len(loss)
        *totals, actions = summed(accelerator, [*sums.tolist(), count])
        means = {name: value / max(actions, 1) for name, value in zip(("loss", "kl", "entropy"), totals, strict=True)}
        check_finite(means)
        kept = teach(janus, rehearsed, 2, accelerator, share=settings.rehearsal_share) if settings.rehearsal else {}
        check_finite(kept)
        norm = descend(accelerator, parameters, optimizers, settings.clip)
    return {**means, "gradient_norm": norm, **{f"rehearsed_{name}": value for name, value in kept.items()}}


def _actions(one: GradedSequence) -> list[Action]:
    return [*one.stream.text, *one.stream.codes]


def _per_action(part: Sequence[GradedSequence], found: Scored) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = zip(found.rows.tolist(), found.segments.tolist(), strict=True)
    advantage = [part[row].advantages[segment] for row, segment in pairs]
    weight = [part[row].weight for row in found.rows.tolist()]
    return torch.tensor(advantage, device=found.rows.device), torch.tensor(weight, device=found.rows.device)


def train(
    janus: Janus,
    reference: Janus,
    settings: Settings,
    out: Path,
    provenance: dict,
    *,
    prompts: Sequence[Description] = (),
    drafts: Sequence[OwnDraft] = (),
    resume: bool = False,
    beginning: RunStart | None = None,
) -> None:
    """Run or go on with a run. Raises RewardError and TrainingError; what was saved last then stands untouched."""
    accelerator = Accelerator(mixed_precision=settings.precision)
    if settings.prompts < accelerator.num_processes:
        raise PromptFileError(
            f"{settings.prompts} prompts a step for {accelerator.num_processes} processes; give each one"
        )
    weights = {"parent_weights": fingerprint(janus.network), "reference_weights": fingerprint(reference.network)}
    provenance = provenance | weights | {"processes": accelerator.num_processes}
    parameters = trainable(janus)
    janus.network.to(accelerator.device).eval()  # no layer of Janus behaves otherwise in training
    reference.network.to(accelerator.device).requires_grad_(requires_grad=False)
    attend_in_blocks(janus)
    attend_in_blocks(reference)
    optimizers = new_optimizers(janus, parameters, settings.learning_rate, settings.weight_decay)
    schedules = new_schedules(optimizers, settings.steps, settings.warmup)
    run = Run(
        accelerator,
        out,
        (janus.network, optimizers, schedules),
        provenance,
        lambda about: write_checkpoint(janus, out, provenance | about),
        steps=settings.steps,
        save_every=settings.save_every,
        beginning=beginning or RunStart(resume=resume),
        printed_every=1,
    )
    rehearsal = world_source(janus, "rehearsal", settings.seed, settings.rehearsal, drafts)
    with run.hearing_signals():
        for step in range(run.first, settings.steps):
            wanted = own_part(accelerator, prompts_at(step, settings.seed, settings.prompts, prompts))
            groups, rehearsed = _experience(janus, wanted, settings, step, accelerator, rehearsal)
            graded, skipped = graded_of(groups, settings)
            try:
                metrics = learn(janus, reference, graded, settings, accelerator, optimizers, parameters, rehearsed)
            except TrainingError as error:
                raise TrainingError(f"step {step}: {error}; {_learnt_from(wanted, rehearsed)}") from error
            for schedule in schedules:
                schedule.step()
            seen = statistics(groups, settings.rounds)
            means = [value / accelerator.num_processes for value in summed(accelerator, seen.values())]
            run.finish_step(step, dict(zip(seen, means, strict=True)) | {"skipped": skipped, **metrics})
            if run.saved_at == step + 1 and accelerator.is_main_process:
                contact_sheet(groups).save(out.parent / f"{out.name}-{step + 1:05d}.png")
        run.end()


def _experience(
    janus: Janus,
    wanted: Sequence[Description],
    settings: Settings,
    step: int,
    accelerator: Accelerator,
    rehearsal: LessonSource,
) -> tuple[list[list[Rollout]], Sequence[TrainingSequence]]:
    """Groups of rollouts of this process's prompts, and the lessons beside them."""
    rng = random.Random(f"{settings.seed} {step} {accelerator.process_index} rollouts")
    starts = starts_of(janus, wanted, settings.thinking, settings.thinking_hard, rng)
    groups = roll_out(janus, starts, settings.group, settings.rounds, rng)
    wrong = wrong_drafts(groups, settings.mending, rng)
    groups += roll_out(janus, wrong, settings.group, settings.rounds, rng)
    return groups, rehearsal(step, slice(accelerator.process_index, None, accelerator.num_processes))


def _learnt_from(wanted: Sequence[Description], rehearsed: Sequence[TrainingSequence]) -> str:
    names = ", ".join([*(f"“{write(each)}”" for each in wanted), *(lesson.name for lesson in rehearsed)])
    return f"this step was not taken, and what was saved before stands. Learnt from: {names}"


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    beginning = beginning_of(arguments)
    RunPaths(arguments.out).check(arguments.checkpoint)
    published = False if arguments.own_contexts else None
    # each process has its own device
    janus = open_checkpoint(arguments.checkpoint, dtype=torch.float32, device="cpu", published=published)
    if janus.sampling.official:
        why = "draws in the contexts of Janus-Pro-R1's published code, in which no token can be scored"
        raise CheckpointError(f"{janus.name} {why}; give --own-contexts to train it in the studio's own")
    reference = open_checkpoint(arguments.reference or arguments.checkpoint, dtype=torch.float32, device="cpu")
    provenance = {"parent": str(arguments.checkpoint), "recipe": "grpo", "settings": asdict(settings)}
    prompts = read_prompts(arguments.prompts_file) if arguments.prompts_file else ()
    drafts = [draft for file in arguments.drafts for draft in read_drafts(file)]
    provenance |= {"drafts": len(drafts), "drafts_sha256": fingerprint_of(arguments.drafts)}
    provenance |= {"prompts_sha256": fingerprint_of([arguments.prompts_file] if prompts else [])}
    train(janus, reference, settings, arguments.out, provenance, prompts=prompts, drafts=drafts, beginning=beginning)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training.grpo", description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="what to start from (default: embedded)")
    parser.add_argument("--reference", help="what to stay near (default: the checkpoint)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the new checkpoint")
    parser.add_argument("--prompts-file", type=Path, help="one prompt per line (default: sampled from the world)")
    own = "with --rehearsal: files of a model's own drafts (model.training.embedded.own_drafts)"
    parser.add_argument("--drafts", type=Path, nargs="+", default=[], metavar="FILE", help=own)
    scored = "roll out in the studio's own contexts what draws in those of Janus-Pro-R1's published code"
    parser.add_argument("--own-contexts", action="store_true", help=scored)
    add_beginning(parser)
    allowed = {"reward": REWARDS, "advantages": ADVANTAGES, "precision": ("no", "bf16")}
    add_settings(parser, Settings(), allowed)
    arguments = parser.parse_args()
    errors = (DataError, PromptFileError, RewardError)
    reporting("grpo", lambda: run(arguments, settings_of(arguments, Settings())), *errors)


if __name__ == "__main__":
    main()

"""Load test: the server killed and restarted at random moments, the database checked after each."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from annotations.ops import queue_checks
from annotations.store.store import open_store_for_reading
from studio.load.annotation_load import AnnotationLoad, confirmed_by, doubled_by, sent_by
from studio.load.annotators import Annotator
from studio.load.cluster import Studio

WITHIN = 0.5  # seconds after so many submits, at most
LATEST = 0.95  # of all answers, after which it is left alone


@dataclass(frozen=True)
class Restart:
    """The checks after a kill, once the server answers again."""

    confirmed: int  # submits so far
    meanwhile: int  # … of which while it was down, at other studios
    seconds: float  # until it answered
    whole: bool  # the database, by its own check
    lost: int  # submits of those confirmed that are not there
    doubled: int  # items that more people hold or have answered than were wanted
    stuck: int  # leases that would never end

    @property
    def passed(self) -> bool:
        return self.whole and not (self.lost or self.doubled or self.stuck)


@dataclass
class RandomKills:
    """`count` kills and restarts at random moments of a load; called as its disturbance."""

    count: int
    load: AnnotationLoad
    seed: int = 0
    restarts: list[Restart] = field(default_factory=list)

    async def __call__(self, server: Studio, team: Sequence[Annotator]) -> None:
        chance = random.Random(self.seed)
        first = sent_by(team) + 1
        for moment in sorted(chance.sample(range(first, int(LATEST * self.load.answers)), self.count)):
            while sent_by(team) < moment:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0, WITHIN))
            server.kill()
            before = len(confirmed_by(team))
            seconds = await server.start()
            self.restarts.append(await asyncio.to_thread(self._check, server, team, before, seconds))

    def _check(self, server: Studio, team: Sequence[Annotator], before: int, seconds: float) -> Restart:
        confirmed = confirmed_by(team)
        with open_store_for_reading(server.folder, server.database) as store:
            return Restart(
                confirmed=len(confirmed),
                meanwhile=len(confirmed) - before,
                seconds=seconds,
                whole=queue_checks.is_intact(store),
                lost=len(queue_checks.missing_submits(store, confirmed)),
                doubled=len(doubled_by(store, team, self.load.overlap)),
                stuck=queue_checks.stuck_leases(store),
            )


def table(restarts: Sequence[Restart]) -> str:
    lines = ["  kill   confirmed   meanwhile   back after   database   lost   given twice   stuck"]
    for number, restart in enumerate(restarts, start=1):
        whole = "whole" if restart.whole else "DAMAGED"
        known = f"{number:>6}{restart.confirmed:>12,}{restart.meanwhile:>12,}{restart.seconds:>11.1f} s{whole:>11}"
        lines.append(f"{known}{restart.lost:>7}{restart.doubled:>14}{restart.stuck:>8}")
    return "\n".join(lines)

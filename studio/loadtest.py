"""Load tests of a studio over HTTP: visitors, annotators, kills, imports, floods, visits.

    python -m studio.loadtest --visitors 32
    python -m studio.loadtest --annotators 50 --items 2000 [--database URL [--processes 2]] [--kill 50]
    python -m studio.loadtest --import 20000 [--pictures 2000] [--database URL]
    python -m studio.loadtest --attack [--database URL]
    python -m studio.loadtest --visits 2000 --drawings 1000

Visitors draw: each must see every row once and in order, and every finished picture; how much longer it takes with many
than alone is printed. Annotators sign in and submit until nothing waits: nobody may be given what others have, and
nothing that was confirmed may be lost, however often the server is killed meanwhile, or one of several behind nginx.
While so many rows are imported ten annotators work and four people draw: nobody may meet an error or wait for more than
a second, nor the import take more than three minutes. Under attack eighteen annotators work while others, each from an
address of its own, flood it: no submit may be refused or take more than twice as long, and the memory must come back.
Visits and drawings show what they cost the server, and that it holds no more afterwards.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable

import httpx2

from annotations.errors import AnnotationsError
from studio.load import annotation_load, attack, imports, kills, visitors, visits
from studio.load.page_client import HandlerError

FEWEST = 16  # answers, below which there are no times to speak of
SHOWN = 10  # bad rows


def with_visitors(arguments: argparse.Namespace) -> str | None:
    """The requirement that was not met, or None."""
    alone, many = asyncio.run(visitors.measure(arguments.visitors or 32))
    print(visitors.table(alone, many))
    if not visitors.passed(alone, many):
        return f"wanted every visitor to see all, at most {visitors.SLOWER} × as slow as one alone"
    return None


def with_annotators(arguments: argparse.Namespace) -> str | None:
    load = annotation_load.AnnotationLoad(arguments.annotators, arguments.items, arguments.overlap)
    disturbance = kills.RandomKills(arguments.kill, load) if arguments.kill else None
    result = asyncio.run(annotation_load.measure(load, arguments.database, disturbance, arguments.processes))
    if disturbance is not None:
        print(kills.table(disturbance.restarts), end="\n\n")
    print(annotation_load.table(result))
    for error in dict.fromkeys(result.errors):
        print(f"  {result.errors.count(error)} × {error}")
    if not result.passed or not all(restart.passed for restart in (disturbance.restarts if disturbance else ())):
        return "wanted nothing given twice, lost, refused or left"
    return None


def with_import(arguments: argparse.Namespace) -> str | None:
    result = asyncio.run(imports.measure(arguments.rows, arguments.pictures, arguments.database))
    print(imports.table(result))
    for error in dict.fromkeys([*result.errors, *(str(error) for error in result.report["errors"][:SHOWN])]):
        print(f"  {error}")
    return f"wanted {'; '.join(result.problems)}" if result.problems else None


def under_attack(arguments: argparse.Namespace) -> str | None:
    result = asyncio.run(attack.measure(database=arguments.database))
    print(attack.table(result))
    for error in dict.fromkeys(result.refused):
        print(f"  {result.refused.count(error)} × {error}")
    if not result.passed:
        slower, more = attack.SLOWER, attack.MORE
        return f"wanted nothing refused, submits at most {slower} × as slow, memory back within {more:.0f} MB"
    return None


def with_visits(arguments: argparse.Namespace) -> str | None:
    costs = asyncio.run(visits.measure(arguments.visits, arguments.drawings))
    print(visits.table(costs))
    if not costs.passed:
        return f"wanted every drawing seen whole, and at most {visits.MORE:.0f} MB more"
    return None


def _problem(arguments: argparse.Namespace) -> str | None:
    """Why the arguments cannot be run, or None."""
    if arguments.rows is not None or arguments.pictures:
        if arguments.kill or not 0 <= arguments.pictures <= (arguments.rows or 0) or not arguments.rows:
            got = f"{arguments.pictures} pictures and {arguments.kill} kills with an import of {arguments.rows} rows"
            return f"got {got}; wanted as many rows, and no kill"
        return None
    if arguments.visits is not None and (arguments.visits < 1 or arguments.drawings < 0):
        return f"got {arguments.visits} visits and {arguments.drawings} drawings; wanted at least one visit"
    if arguments.annotators is None:
        wrong = arguments.kill or arguments.database and not arguments.attack
        return "--kill and --database are for --annotators; give so many" if wrong else None
    if arguments.processes != 1 and (arguments.processes < 1 or not arguments.database):
        return f"got {arguments.processes} processes; several share a PostgreSQL database: give --database"
    answers = arguments.items * arguments.overlap
    if min(arguments.annotators, arguments.items, arguments.overlap) < 1 or answers < FEWEST:
        return f"got {answers} answers of {arguments.annotators} annotators; wanted at least {FEWEST} of one"
    if arguments.overlap > arguments.annotators:
        return f"--overlap {arguments.overlap} takes as many annotators; there are {arguments.annotators}"
    if not 0 <= arguments.kill <= answers // 2:
        return f"got {arguments.kill} kills in {answers} answers, wanted at most {answers // 2}; give more --items"
    return None


def _chosen(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], str | None]:
    if arguments.attack:
        return under_attack
    if arguments.visits:
        return with_visits
    if arguments.rows:
        return with_import
    return with_annotators if arguments.annotators else with_visitors


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studio.loadtest", description=__doc__.split("\n")[0])
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--visitors", type=int, help="who draw at the same time (32)")
    who.add_argument("--annotators", type=int, help="who answer at the same time")
    who.add_argument("--import", type=int, metavar="ROWS", dest="rows", help="to be imported while others work")
    parser.add_argument("--pictures", type=int, default=0, metavar="ROWS", help="of --import that have a picture")
    who.add_argument("--attack", action="store_true", help="annotators answer while others flood the studio")
    who.add_argument("--visits", type=int, help="of the front page, and the --drawings that come of them")
    parser.add_argument("--drawings", type=int, default=1000, help="for visits")
    parser.add_argument("--items", type=int, default=2000, help="for annotators: what there is to answer")
    parser.add_argument("--overlap", type=int, default=2, help="how many answer each item")
    parser.add_argument("--database", metavar="URL", help="an empty PostgreSQL database, instead of SQLite")
    parser.add_argument("--processes", type=int, default=1, help="studios behind nginx, with one --database")
    parser.add_argument("--kill", type=int, default=0, metavar="TIMES", help="the server, at random moments")
    arguments = parser.parse_args()
    if problem := _problem(arguments):
        parser.error(problem)
    try:
        failure = _chosen(arguments)(arguments)
    except (AnnotationsError, HandlerError, RuntimeError, httpx2.HTTPError) as error:
        failure = str(error)
    if failure:
        sys.exit(f"loadtest: {failure}")


if __name__ == "__main__":
    main()

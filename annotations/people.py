"""Local accounts on the command line.

    python -m annotations.people add NAME --role annotator
    python -m annotations.people list|role|deactivate|activate|password|sign-out …

A password is asked for on the terminal, or read from standard input where that is none; it is never an argument,
which every process on the machine could read.
"""

import argparse
import getpass
import json
import sys
from pathlib import Path

from annotations.auth.accounts import (
    Person,
    activate,
    add,
    deactivate,
    people,
    person,
    set_password,
    set_role,
    sign_out,
)
from annotations.db.engine import default_directory, default_pictures, default_url
from annotations.errors import AnnotationsError, PersonError
from annotations.schema.project import Role
from annotations.store.store import Store, open_store


def _ask() -> str:
    """A password, twice on a terminal and once from a pipe. Raises PersonError."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise PersonError("the two passwords differ; nothing was changed, try again")
    return password


def _run(store: Store, arguments: argparse.Namespace) -> list[Person]:
    match arguments.do:
        case "add":
            return [add(store, arguments.name, Role(arguments.role), _ask())]
        case "role":
            return [set_role(store, arguments.name, Role(arguments.role))]
        case "password":
            person(store, arguments.name)
            return [set_password(store, arguments.name, _ask())]
        case "deactivate":
            return [deactivate(store, arguments.name)]
        case "activate":
            return [activate(store, arguments.name)]
        case "sign-out":
            return [sign_out(store, arguments.name)]
        case _:
            return people(store)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, help="data folder of the studio (default: its usual place)")
    shared.add_argument("--json", action="store_true", help="print the accounts as JSON")
    parser = argparse.ArgumentParser(prog="python -m annotations.people", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="do", required=True)
    commands.add_parser("list", parents=[shared], help="all accounts")
    roles = [role.value for role in Role]
    for do, what in (
        ("add", "make an account; its password is asked for, or read from standard input"),
        ("role", "what an account may do from now on"),
        ("password", "another password, asked for or read from standard input; it signs out everywhere"),
        ("deactivate", "the account opens nothing any more; its answers stay"),
        ("activate", "it does again"),
        ("sign-out", "end every session of the account, on all machines"),
    ):
        command = commands.add_parser(do, parents=[shared], help=what)
        command.add_argument("name")
        if do == "add":
            command.add_argument("--role", choices=roles, default=Role.ANNOTATOR.value)
        if do == "role":
            command.add_argument("role", choices=roles)
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        with open_store(arguments.data or default_directory(), default_url(), default_pictures()) as store:
            people = _run(store, arguments)
    except AnnotationsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps([account.to_dict() for account in people], ensure_ascii=False))
        return 0
    for account in people:
        state = "" if account.active else f"  deactivated {account.deactivated_at:%Y-%m-%d}"
        print(f"{account.name:<24} {account.role.value:<10} since {account.created_at:%Y-%m-%d}{state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

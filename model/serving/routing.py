"""Routing of requests to replicas: the session's own while it has room, else the one with most room.

A request router of Ray Serve, which every proxy and handle has one of. It tries ranks of replicas in turn, and of a
rank takes the replica with the fewest requests under way, if that has room at all.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeVar

from ray.serve._private.common import ReplicaID
from ray.serve.request_router import PendingRequest, ReplicaResult, RequestRouter, RunningReplica

MOST_SESSIONS = 10_000  # that are remembered; the longest silent is forgotten first

Known = TypeVar("Known")


class StickySessions:
    """The replica that each session was sent to last."""

    def __init__(self, most: int = MOST_SESSIONS) -> None:
        self._most = most
        self._replica_of: OrderedDict[str, Any] = OrderedDict()

    def sent(self, session: str, replica: Any) -> None:
        self._replica_of[session] = replica
        self._replica_of.move_to_end(session)
        if len(self._replica_of) > self._most:
            self._replica_of.popitem(last=False)

    def replica(self, session: str) -> Any | None:
        return self._replica_of.get(session)


def ranks(replicas: Sequence[Known], own: Known | None) -> list[list[Known]]:
    """The session's own replica, if it is still there, before all others."""
    return [[own], [each for each in replicas if each != own]] if own in replicas else [list(replicas)]


class SessionRouter(RequestRouter):
    """As Ray Serve calls it."""

    def initialize_state(self, **options: Any) -> None:
        self._sessions = StickySessions()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        by_id = {replica.replica_id: replica for replica in candidate_replicas}
        session = pending_request.metadata.session_id if pending_request is not None else ""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # where no replica has room
        own = self._sessions.replica(session) if session else None
        return [[by_id[replica] for replica in rank] for rank in ranks(list(by_id), own) if rank]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult) -> None:
        if session := pending_request.metadata.session_id:
            self._sessions.sent(session, replica_id)

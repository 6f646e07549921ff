"""Routing of requests to replicas: the session's own while it has room, else the one with most room.

A request router of Ray Serve, which every proxy and handle has one of. It tries ranks of replicas in turn, here of one
replica each. Ray's own count of a replica's requests is what the replica said last, which is too late where many
requests come at once: so each router counts those that it has sent, from their choice to their end.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
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


def ranks(replicas: Sequence[Known], own: Known | None, requests: Callable[[Known], int]) -> list[list[Known]]:
    """The session's own replica, if it is still there, and then the others, those with fewest requests first."""
    return [[each] for each in sorted(replicas, key=lambda each: (each != own, requests(each)))]


class SessionRouter(RequestRouter):
    """As Ray Serve calls it."""

    def initialize_state(self, **options: Any) -> None:
        self._sessions = StickySessions()
        self._sent: dict[str, tuple[PendingRequest, ReplicaID]] = {}  # that have not ended, by their internal id

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        by_id = {replica.replica_id: replica for replica in candidate_replicas}
        session = pending_request.metadata.session_id if pending_request is not None else ""
        own = self._sessions.replica(session) if session else None
        chosen = ranks(list(by_id), own, self._requests)
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # where no replica has room
            if chosen:
                self._sent[pending_request.metadata.internal_request_id] = (pending_request, chosen[0][0])
        return [[by_id[replica] for replica in rank] for rank in chosen]

    def _requests(self, replica_id: ReplicaID) -> int:
        """Of a replica: those sent from here, or as many as it said last, where others send it some, too."""
        self._sent = {key: sent for key, sent in self._sent.items() if not sent[0].future.cancelled()}
        here = sum(replica == replica_id for _, replica in self._sent.values())
        return max(here, self.replica_queue_len_cache.get(replica_id) or 0)

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult) -> None:
        if pending_request.metadata.internal_request_id in self._sent:  # else it has ended before
            self._sent[pending_request.metadata.internal_request_id] = (pending_request, replica_id)
        if session := pending_request.metadata.session_id:
            self._sessions.sent(session, replica_id)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        self._sent.pop(internal_request_id, None)

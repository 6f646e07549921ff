"""Tables for transient messages among studios that share a database; nothing in them has to be kept."""

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from annotations.db.base import Base


class LiveEventsRow(Base):
    """Some events of a drawing that is under way, until it is stored."""

    __tablename__ = "live_events"

    trajectory_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # of the first of these events, from 0
    events: Mapped[list[Any]]  # Event.to_dict()
    owner: Mapped[str] = mapped_column(Text)
    ended: Mapped[bool]  # of the row 0: whether its last event is there
    renewed_at: Mapped[datetime]  # of the row 0: the last sign of life


class ProcessMessageRow(Base):
    """What one process tells all others."""

    __tablename__ = "process_messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    process: Mapped[str] = mapped_column(String(32))
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)

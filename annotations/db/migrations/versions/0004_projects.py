"""People, projects, their items, leases; every annotation knows the project it was given in.

Those there are belong to the project “reflections”, which is made here with an item for every finished trajectory that
has a reflection, and with what each annotator has completed or begun of them. Written by hand and never changed again.
"""

from collections import defaultdict
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

MOMENT = sa.DateTime(timezone=True)
AT_ONCE = 1000  # rows
REFLECTIONS = {
    "id": "reflections",
    "name": "Reflections",
    "subject": "reflection",
    "guidelines": (
        "Look at the picture and the prompt. Say whether the model’s **yes or no** is right, how good its reason is, "
        "and write a better reason where you have one."
    ),
    "overlap": None,
    "gold_share": 0.0,
    "practice": 0,
    "role": "annotator",
    "people": [],
    "skipping": "others",
    "order": "oldest",
    "collects": True,
    "closed_at": None,
    "questions": [
        {
            "name": "verdict_right",
            "segment": "reflection",
            "form": "choice",
            "title": "Is the verdict right?",
            "help": "Look at the picture and the prompt only: is the model’s yes or no the right answer?",
            "required": True,
            "choices": ["yes", "no"],
        },
        {
            "name": "reason_rating",
            "segment": "reflection",
            "form": "rating",
            "title": "How good is the reason?",
            "help": "1: wrong or about something else. 3: true but incomplete. 5: true, complete and to the point.",
            "required": False,
            "choices": [],
        },
        {
            "name": "reason_correction",
            "segment": "reflection",
            "form": "text",
            "title": "What should the reason be?",
            "help": "The whole reason, without the yes or no. A wrong verdict needs one to become a training example.",
            "required": False,
            "choices": [],
        },
        {
            "name": "thought_rating",
            "segment": "thought",
            "form": "rating",
            "title": "How good is the plan?",
            "help": "1: it contradicts the prompt. 5: a picture drawn from it would match the prompt.",
            "required": True,
            "choices": [],
        },
        {
            "name": "thought_correction",
            "segment": "thought",
            "form": "text",
            "title": "What should the plan be?",
            "help": "The whole plan, in the model’s own form.",
            "required": False,
            "choices": [],
        },
    ],
}


def upgrade() -> None:
    _create_people()
    projects = _create_projects()
    items = _create_items()
    leases = _create_leases()
    _create_places()
    op.bulk_insert(projects, [REFLECTIONS | {"created_at": datetime.now(UTC)}])
    _alter_annotations()
    connection = op.get_bind()
    _fill_items(connection, items)
    _fill_leases(connection, items, leases)
    if connection.dialect.name == "postgresql":
        _list_without_prompts(connection)
    connection.exec_driver_sql(
        "UPDATE annotations SET item_id = "
        "(SELECT id FROM project_items WHERE project_items.trajectory_id = annotations.trajectory_id)"
    )


def _list_without_prompts(connection: sa.Connection) -> None:
    """PostgreSQL refuses a row whose index entry is longer than a third of a page, which a prompt may be."""
    name = "ix_trajectories_listing"
    [columns] = [i["column_names"] for i in sa.inspect(connection).get_indexes("trajectories") if i["name"] == name]
    op.drop_index(name, "trajectories")
    op.create_index(name, "trajectories", [column for column in columns if column != "prompt"])


def _create_people() -> None:
    op.create_table(
        "people",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("deactivated_at", MOMENT),
        sa.PrimaryKeyConstraint("name", name="pk_people"),
        sa.CheckConstraint("role IN ('visitor', 'annotator', 'reviewer', 'admin')", name=op.f("ck_people_role")),
    )


def _create_projects() -> sa.Table:
    return op.create_table(
        "projects",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("questions", sa.JSON, nullable=False),
        sa.Column("subject", sa.String(16), nullable=False),
        sa.Column("guidelines", sa.Text, nullable=False),
        sa.Column("overlap", sa.Integer),
        sa.Column("gold_share", sa.Float, nullable=False),
        sa.Column("practice", sa.Integer, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("people", sa.JSON, nullable=False),
        sa.Column("skipping", sa.String(16), nullable=False),
        sa.Column("order", sa.String(16), nullable=False),
        sa.Column("collects", sa.Boolean, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )


def _create_items() -> sa.Table:
    table = op.create_table(
        "project_items",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("trajectory_id", sa.String(64), nullable=False),
        sa.Column("other_id", sa.String(64)),
        sa.Column("use", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("rank", sa.Float, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("answers", sa.Integer, nullable=False),
        sa.Column("gold", sa.JSON(none_as_null=True)),
        sa.PrimaryKeyConstraint("id", name="pk_project_items"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_project_items_project_id_projects"),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectories.id"], name="fk_project_items_trajectory_id_trajectories"
        ),
        sa.ForeignKeyConstraint(["other_id"], ["trajectories.id"], name="fk_project_items_other_id_trajectories"),
        sa.CheckConstraint("use IN ('work', 'gold', 'practice')", name=op.f("ck_project_items_use")),
        sa.CheckConstraint("state IN ('open', 'full', 'closed', 'hidden')", name=op.f("ck_project_items_state")),
        sqlite_autoincrement=True,
    )
    line = ["project_id", "use", "state", "priority", "rank", "id"]
    op.create_index("ix_project_items_line", "project_items", line)
    op.create_index("ix_project_items_trajectory_id", "project_items", ["trajectory_id"])
    op.create_index("ix_project_items_other_id", "project_items", ["other_id"])
    single = {f"{dialect}_where": sa.text("other_id IS NULL") for dialect in ("sqlite", "postgresql")}
    op.create_index("ix_project_items_single", "project_items", ["project_id", "trajectory_id"], unique=True, **single)
    pair = ["project_id", "trajectory_id", "other_id"]
    op.create_index("ix_project_items_pair", "project_items", pair, unique=True)
    return table


def _create_leases() -> sa.Table:
    table = op.create_table(
        "leases",
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.Column("renewed_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.PrimaryKeyConstraint("item_id", "annotator", name="pk_leases"),
        sa.ForeignKeyConstraint(["item_id"], ["project_items.id"], name="fk_leases_item_id_project_items"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_leases_project_id_projects"),
        sa.CheckConstraint(
            "outcome IN ('left', 'lapsed', 'postponed', 'submitted', 'extra', 'skipped', 'hidden')",
            name=op.f("ck_leases_outcome"),
        ),
    )
    op.create_index("ix_leases_outcome_expires_at", "leases", ["outcome", "expires_at"])
    mine = ["project_id", "annotator", "outcome"]
    op.create_index("ix_leases_project_id_annotator_outcome", "leases", mine)
    return table


def _create_places() -> None:
    op.create_table(
        "places",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("rank", sa.Float, nullable=False),
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "annotator", name="pk_places"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_places_project_id_projects"),
    )


def _alter_annotations() -> None:
    # SQLite copies the table into a new one, which keeps ids; its foreign keys are off meanwhile. What it forgets is
    # the highest id there ever was, and an id that comes again would be somebody else's answer.
    connection = op.get_bind()
    highest = None
    if connection.dialect.name == "sqlite":
        highest = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'annotations'").scalar()
    options = {"table_kwargs": {"sqlite_autoincrement": True}}
    with op.batch_alter_table("annotations", **options) as table:
        table.alter_column("segment", existing_type=sa.Integer, nullable=True)
        table.add_column(sa.Column("project_id", sa.String(64), nullable=False, server_default="reflections"))
        table.add_column(sa.Column("item_id", sa.Integer))
        table.create_foreign_key("fk_annotations_project_id_projects", "projects", ["project_id"], ["id"])
        table.create_foreign_key("fk_annotations_item_id_project_items", "project_items", ["item_id"], ["id"])
        table.drop_index("ix_annotations_trajectory_id_segment_annotator_id")
    if highest is not None:
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = 'annotations'")
        connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES ('annotations', ?)", (highest,))
    last = ["trajectory_id", "segment", "annotator", "project_id", "item_id", "id"]
    op.create_index("ix_annotations_current", "annotations", last)
    op.create_index("ix_annotations_item_id_annotator", "annotations", ["item_id", "annotator"])


def _fill_items(connection: sa.Connection, items: sa.Table) -> None:
    trajectories = sa.table(
        "trajectories",
        sa.column("id", sa.String),
        sa.column("created_at", MOMENT),
        sa.column("num_reflections", sa.Integer),
        sa.column("stop_reason", sa.String),
    )
    deletions = sa.table("deletions", sa.column("trajectory_id", sa.String))
    hidden = set(connection.scalars(sa.select(deletions.c.trajectory_id)))
    wanted = sa.select(trajectories.c.id, trajectories.c.created_at, trajectories.c.num_reflections)
    wanted = wanted.where(trajectories.c.stop_reason.is_not(None), trajectories.c.num_reflections > 0)
    found = connection.execute(wanted.order_by(trajectories.c.created_at, trajectories.c.id)).all()
    rows = [
        {
            "project_id": "reflections",
            "trajectory_id": id,
            "use": "work",
            "state": "hidden" if id in hidden else "open",
            "priority": 0,
            "rank": (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(),
            "parts": parts,
            "answers": 0,
        }
        for id, moment, parts in found
    ]
    for start in range(0, len(rows), AT_ONCE):
        connection.execute(sa.insert(items), rows[start : start + AT_ONCE])


def _fill_leases(connection: sa.Connection, items: sa.Table, leases: sa.Table) -> None:
    annotations = sa.table(
        "annotations",
        *(sa.column(name, sa.Integer) for name in ("id", "segment")),
        *(sa.column(name, sa.String) for name in ("trajectory_id", "annotator", "kind", "status")),
        sa.column("created_at", MOMENT),
    ).c
    last = sa.select(sa.func.max(annotations.id))
    last = last.group_by(annotations.trajectory_id, annotations.segment, annotations.annotator)
    wanted = sa.select(items.c.id, items.c.parts, items.c.state, annotations.annotator)
    wanted = wanted.add_columns(annotations.kind, annotations.status, annotations.created_at)
    wanted = wanted.join(items, items.c.trajectory_id == annotations.trajectory_id).where(annotations.id.in_(last))
    given = defaultdict(list)
    for row in connection.execute(wanted):
        given[row.id, row.annotator].append(row)
    rows, completed = [], defaultdict(int)
    for (item, annotator), said in given.items():
        outcome = _outcome(said)
        completed[item] += outcome == "submitted"
        times = sorted(row.created_at for row in said)
        moments = {"taken_at": times[0], "renewed_at": times[-1], "expires_at": times[-1]}
        rows.append(
            {"item_id": item, "annotator": annotator, "project_id": "reflections", "outcome": outcome} | moments
        )
    for start in range(0, len(rows), AT_ONCE):
        connection.execute(sa.insert(leases), rows[start : start + AT_ONCE])
    counted = sa.update(items).where(items.c.id == sa.bindparam("item")).values(answers=sa.bindparam("people"))
    people = [{"item": item, "people": number} for item, number in completed.items() if number]
    for start in range(0, len(people), AT_ONCE):
        connection.execute(counted, people[start : start + AT_ONCE])


def _outcome(said: list) -> str:
    """How far a person is with an item: every reflection of it is answered, or left out on purpose, or it is left."""
    if said[0].state == "hidden":
        return "hidden"
    done = [row.status for row in said if row.kind == "reflection" and row.status != "unfinished"]
    if len(done) < said[0].parts:
        return "left"
    return "submitted" if "submitted" in done else "skipped"

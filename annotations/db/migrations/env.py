"""Alembic's environment: runs the migrations on the connection that `annotations.db.upgrade` hands over."""

from alembic import context

from annotations.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

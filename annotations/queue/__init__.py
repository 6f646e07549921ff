"""The annotation queue: assignment, submission, review, gold, audit trail."""

"""People: accounts, invitations, who changed what."""

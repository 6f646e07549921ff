"""The People page: accounts, invitations, changes of accounts."""

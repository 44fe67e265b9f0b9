"""Runbooks: one page of instructions per alert, linted against the alerts and commands that exist."""

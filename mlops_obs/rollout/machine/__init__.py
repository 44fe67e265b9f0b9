"""The state machine: what a rollout remembers, what it sees at one look, and what it does next. All of it pure."""

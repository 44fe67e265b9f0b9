"""Fakes for every port, shipped for users: each is pinned by a contract test that also runs on the real thing."""

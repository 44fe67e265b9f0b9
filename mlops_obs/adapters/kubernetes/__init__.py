"""Kubernetes as a place to keep rollouts and to carry them out: one small client, a store, leader election, watches and the operator."""

"""Dashboards, the preview that needs no Grafana, and the report of a rollout."""

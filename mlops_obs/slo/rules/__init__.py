"""SLOs as Prometheus rules; the only place where rule PromQL is written. Start at `prometheus_rules.py`."""

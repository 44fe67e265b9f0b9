"""Where vendors are spoken to: Prometheus, Ray, KServe, Grafana, NVML, SQLite, files. Each module is one vendor or one job of one."""

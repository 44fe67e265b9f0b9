"""Pages: what on-call reads, and the Alertmanager configuration that brings it."""

"""Observability and reliability for the ML life cycle on Ray and KServe."""

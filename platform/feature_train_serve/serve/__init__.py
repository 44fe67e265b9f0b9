"""Serving: one predictor, on KServe's own server and on Ray Serve behind a weighted ingress."""

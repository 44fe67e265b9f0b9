"""How long the pooled vector of a network is; kept apart from the networks, so that who only needs the number does not import torch."""

EMBEDDING = 16

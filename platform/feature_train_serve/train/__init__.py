"""Training on Ray Train, and the model package that serving loads."""

"""A synthetic lender. Nothing in here is about real people."""

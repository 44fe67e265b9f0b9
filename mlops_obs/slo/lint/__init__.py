"""What is wrong with anybody's burn-rate rules, proven on the expressions themselves. Start at `findings.py`."""

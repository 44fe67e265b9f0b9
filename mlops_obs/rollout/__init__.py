"""Ship a revision step by step, judge it against the one it replaces, and take it back on evidence."""

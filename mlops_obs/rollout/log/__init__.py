"""The evidence log: its records, how they are chained, replayed, explained, and what they say about what happens next."""

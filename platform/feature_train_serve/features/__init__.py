"""Features, defined once: in batch over all history, and in real time on the event stream."""

"""From raw counter samples to what both arms answered in each slice of time; or to the reason why that cannot be known."""

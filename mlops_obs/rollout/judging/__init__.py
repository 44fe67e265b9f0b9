"""The statistics behind a verdict: sequential tests that survive noise, their power, and whose fault it is."""

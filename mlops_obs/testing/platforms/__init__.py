"""Stand-ins for platforms that no test machine has: they play their part on real API servers, processes and sockets."""

"""The owner's own page: what this machine does and did, and every switch. On the loopback address only."""

"""When to start the agent again after it ended."""

# Exit codes after which starting again would end the same way: wrong usage, refused, not enrolled, revoked,
# another server, another agent.
HOPELESS = (2, 3, 5, 6, 7, 8)
FIRST_SECONDS, MOST_SECONDS = 5, 300
EVEN_SECONDS = 30  # where a service manager knows one delay only
END_SECONDS = 20  # to hand in and stop, before it is killed

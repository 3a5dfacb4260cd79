"""Running every process of the platform on one machine, and keeping it running."""

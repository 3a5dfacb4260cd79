"""What this machine can tell about itself and about who uses it, on Linux, macOS and Windows.

Each module reads one thing; `reader.Reader` puts them together as `policy.facts.Facts`. A module loads on
every system: libraries of one system are opened inside functions.
"""

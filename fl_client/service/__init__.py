"""Starting with the computer: a systemd user unit, a launchd agent or a scheduled task of Windows.

Each module renders its file out of an `Order` and names the commands that put it in force.
"""

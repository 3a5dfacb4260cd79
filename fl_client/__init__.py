"""What an employee installs: trains on this machine while it is idle, and sends weights, never rows."""

__version__ = "0.1.0"

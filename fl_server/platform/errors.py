class PlatformError(Exception):
    """The platform cannot start or go on; the message is the sentence to show."""

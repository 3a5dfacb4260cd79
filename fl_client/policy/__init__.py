"""May this machine train now, with how much of itself, and why not? Pure: no I/O, no clock, no sensor."""

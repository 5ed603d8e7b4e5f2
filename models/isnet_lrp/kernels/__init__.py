"""Fast forms of the steps that take the time."""

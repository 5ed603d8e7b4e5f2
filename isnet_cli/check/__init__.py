"""`isnet check`, `isnet init` and `isnet doctor`: what can be said before any work."""

"""`isnet check`, `isnet init` and `isnet doctor`: what is known before any work."""

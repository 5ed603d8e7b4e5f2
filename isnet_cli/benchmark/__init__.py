"""`isnet benchmark`: methods x seeds x data settings."""

"""Methods whose network has attention of its own."""

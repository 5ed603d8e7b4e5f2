"""`isnet compare`: several runs on the same images."""

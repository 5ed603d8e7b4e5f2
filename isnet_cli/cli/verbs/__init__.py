"""One file per verb, or per group of small ones."""

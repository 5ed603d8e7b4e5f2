"""Public collections as downloaded, each made into one table of labels."""

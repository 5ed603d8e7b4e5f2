"""Work shared out: among threads, processes that train together, and shards of a run."""

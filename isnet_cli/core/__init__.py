"""Runs: their folder, stages and pipeline, journal, worker processes, atomic files, events."""

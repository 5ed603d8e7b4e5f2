"""Scores and their intervals: arrays in, figures out."""

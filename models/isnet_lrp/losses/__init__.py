"""Losses on relevance maps and lung masks."""

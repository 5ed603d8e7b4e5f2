"""Kinds of operations: how each is run, recorded, and passes relevance on."""

"""Families of rules that differ from plain LRP."""

"""The sections of the report, each made from facts alone."""

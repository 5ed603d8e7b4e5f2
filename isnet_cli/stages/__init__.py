"""The stages: the only place where reading, measuring, exporting and recording meet."""

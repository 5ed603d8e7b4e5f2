"""Label tables: read, understood, joined to images."""

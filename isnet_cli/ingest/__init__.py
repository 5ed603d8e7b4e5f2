"""Stage `ingest`: from files and tables to kept images and one manifest."""

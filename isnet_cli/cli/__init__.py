"""The command line: options, messages, progress; one short file per verb."""

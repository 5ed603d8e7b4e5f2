"""The run on disk and on the machine: folder, record, checkpoints, device, seeds."""

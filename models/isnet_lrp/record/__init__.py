"""One forward pass of an untouched network, recorded."""

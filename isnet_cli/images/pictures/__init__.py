"""Pictures that Pillow alone would misread or accept though damaged."""

"""Trained models for other programs: ONNX files with everything from the image to the answer."""

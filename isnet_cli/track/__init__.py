"""Experiment trackers: what a training reports, for TensorBoard, MLflow and Weights & Biases."""

"""Explanations of a trained network: Grad-CAM, integrated gradients, attention rollout."""

"""What is measured: scores, reliance on the background, plausibility of masks."""

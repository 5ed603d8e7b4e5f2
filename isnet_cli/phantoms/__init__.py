"""Synthetic chest X-rays with known lungs and lesions."""

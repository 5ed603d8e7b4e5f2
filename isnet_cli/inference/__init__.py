"""A trained model at work: its files, predictions, and their uncertainty flags."""

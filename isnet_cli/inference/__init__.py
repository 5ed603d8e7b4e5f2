"""A trained model at work: its files, predictions, and when to doubt them."""

"""A trained model described in the forms that others ask for: ATLAS, Hugging Face, CLAIM 2024."""

"""Text from users' files as each kind of output holds it: safe, whole, and without hidden names."""

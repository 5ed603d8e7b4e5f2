"""Stage `evaluate`: scores on named test sets, and reliance on the background."""

"""Films, labels, sets and masks: from files to arrays, and the films of the demo."""

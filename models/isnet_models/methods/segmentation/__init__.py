"""Methods that segment the lungs, too."""

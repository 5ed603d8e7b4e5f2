"""Methods that change the background of training images."""

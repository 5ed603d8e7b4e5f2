"""What networks are fed: images, masks and labels at their input size, and changes of them."""

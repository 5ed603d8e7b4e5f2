"""What stands between the program and what lies on the disk: opening, sizes, leftovers."""

"""Whatever the program reads back, checked before it is used."""

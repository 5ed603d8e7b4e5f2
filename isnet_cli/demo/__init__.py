"""`isnet demo`: the whole pipeline on phantoms."""

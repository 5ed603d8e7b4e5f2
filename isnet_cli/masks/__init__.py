"""Stage `masks`: lung masks, their quality, and files of them."""

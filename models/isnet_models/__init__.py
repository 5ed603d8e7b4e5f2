"""Networks and training methods; `isnet_lrp` has the relevance maps and their losses."""

__version__ = "0.2.0.dev0"

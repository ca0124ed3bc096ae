"""How a network is shown: folded, described, drawn."""

"""Other projects' weights, read into the neutral form."""

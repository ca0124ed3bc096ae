"""One network in every backend, held against the reference."""

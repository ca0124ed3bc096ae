"""Speed: what computes a network, proven to do the same work, and then timed."""

"""What separates two networks, or one network in two frameworks."""

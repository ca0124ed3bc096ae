"""Pictures and data sets: reading and checking them, and the shipped samples."""

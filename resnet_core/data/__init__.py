"""Pictures and data sets: reading, checking, and the samples that ship."""

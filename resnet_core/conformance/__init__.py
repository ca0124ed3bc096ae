"""The conformance kit: what holds a backend to its contract, anyone's and the built-in ones alike."""

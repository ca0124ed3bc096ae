"""Comparing a network in every backend with the reference."""

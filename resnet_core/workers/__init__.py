"""Processes of their own for frameworks: the parent's side, the child's side, and what is asked of it."""

"""Printed programs, from the named backend and with a recipe; the sentences and numbers of their training."""

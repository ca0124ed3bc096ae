"""Reading other projects' weights into the neutral form."""

"""A separate process for each framework: the parent's side, the child's side, and the tasks."""

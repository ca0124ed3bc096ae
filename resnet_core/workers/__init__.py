"""A separate process for each framework: the parent's side, the child's side, and the tasks."""

#: Default time limit for a request, in seconds.
TIME_LIMIT = 600.0

"""A separate process for each framework: the parent's side, the child's side, and the tasks."""

#: Default time limit for a request, in seconds.
TIME_LIMIT = 600.0

#: Says to a process that it is a rank's, one of several of a run, and has a parent.
MARK = "RESNET_RANK"
#: Exit code of a rank that Ctrl-C ended at once, before it trained or again while it did: it has agreed with nobody to
#: end.
BROKE_OFF = 72

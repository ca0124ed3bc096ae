"""Training runs: recipe, schedule, pipeline, run loop and what is kept of a run."""

"""Training runs: recipe, schedule, data pipeline, run loop, and the files of a run."""

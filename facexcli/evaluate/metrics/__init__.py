"""One measure, one module. What needs numpy alone is in `evaluate.measures`."""

"""The process that holds a model and answers for it, and the warm parent that forks such processes."""

"""What a model weighs: estimated from its facts, and measured by loading and running it in a child process."""

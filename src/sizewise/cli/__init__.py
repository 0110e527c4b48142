"""Commands: each parses, calls ``sizewise.api`` and prints. The only package that reads the environment."""

"""One folder for each peer: its server, and what its environment holds. Never imported by Sizewise."""

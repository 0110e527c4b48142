"""The best that was possible: costs that no policy can go below, computed with the whole trace known."""

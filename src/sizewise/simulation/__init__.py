"""What would have happened: traces replayed through the controller that runs live, and through other autoscalers.

``bounds`` holds the best that was possible: costs that no policy can go below, with the whole trace known.
"""

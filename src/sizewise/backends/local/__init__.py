"""Replicas as processes of this machine, kept alive by a keeper that outlives the controller."""

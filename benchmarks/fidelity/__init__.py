"""Does the simulator say what really happens? The same traffic twice through the local runtime and once simulated."""

"""What starts, stops and reports processes: one folder per provider, none knows another."""

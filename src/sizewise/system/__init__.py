"""What Linux tells about processes and files: short reads of /proc, no framework, no decision."""

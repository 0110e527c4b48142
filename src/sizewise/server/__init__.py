"""The control plane over HTTP: admin API, status, metrics; and the process that runs it beside the loop."""

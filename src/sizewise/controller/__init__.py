"""The control loop: observe, decide, act, record; deploys, the artifact store and the state of one installation."""

"""The Open Inference Protocol over gRPC: a process that passes requests on to the gateway, and decides nothing."""

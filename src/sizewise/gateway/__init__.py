"""The data port: HTTP in, frames to replicas, answers back. It never parses a tensor.

The path of a request that meets a ready replica is four modules and nothing else: ``connection`` (HTTP side),
``exchange`` (one request), ``model`` (which replica, or wait) and ``link`` (frame side). Everything else is asked once
per connection, per model or per second.

Accepted: HTTP/1.1 and 1.0, keep-alive, pipelining (answered in order), bodies with Content-Length or chunked,
``Expect: 100-continue``, absolute-form targets. Refused: everything ``llhttp`` refuses in strict mode, header blocks,
bodies, connections and waiting times over ``limits``, any Transfer-Encoding but ``chunked``, protocol upgrades.
"""

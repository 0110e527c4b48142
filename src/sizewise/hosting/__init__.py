"""A model in this process: loaded, warmed up, its requests batched and answered. Who hosts it brings the sink."""

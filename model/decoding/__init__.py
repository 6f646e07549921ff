"""From a request to events: grammar, batched decode loop, KV cache, sampling."""

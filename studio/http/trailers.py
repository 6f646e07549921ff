"""Ignores trailers: header fields after a request's body.

uvicorn's faster parser (httptools) adds them to the headers. A proxy that passes them on has checked and set headers
only, so that a client could name its own address, scheme or host in a trailer.
"""

import asyncio


def without_trailers(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """A protocol of uvicorn's that reads no trailers; the same where its parser keeps them apart."""
    if not hasattr(protocol, "on_header"):
        return protocol

    class WithoutTrailers(protocol):
        def on_message_begin(self) -> None:
            self._is_in_head = True
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._is_in_head:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._is_in_head = False
            super().on_headers_complete()

    return WithoutTrailers

"""``make fuzz``: what no well-behaved client sends, to a live server with TLS and an API key.

frames      raw HTTP/2 over TLS: calls whose frames are damaged, cut, repeated, reordered or made up
messages    protobufs that are damaged, sent as the body of otherwise proper calls
__main__    both against one server, and whether it still serves

The seed determines everything that is sent; how frames of several connections interleave, it does not.
"""

"""Translation between the protocol and values: validates requests, fills and renders replies."""

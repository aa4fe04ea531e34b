"""An hour of traffic in simulated time: the real server and client, and providers over HTTP that fail."""

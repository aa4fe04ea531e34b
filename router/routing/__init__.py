"""One Route call without the transport: gather, decide, reserve; and the jobs between calls."""

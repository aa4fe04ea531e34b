"""The gRPC server: services, errors as status, messages to values."""

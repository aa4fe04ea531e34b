"""The gRPC server: services, error handling, translation between messages and values."""

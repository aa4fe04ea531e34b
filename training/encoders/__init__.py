"""Encoders: made from the weights of others, and used on many prompts, in threads or on a cluster."""

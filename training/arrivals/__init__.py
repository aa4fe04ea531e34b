"""A new model gets an arm of a bundle from a few attempts, without training."""

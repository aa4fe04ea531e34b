"""A new model gets a place on a bundle's scale of ability from its attempts, without training."""

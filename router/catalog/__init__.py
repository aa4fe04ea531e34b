"""The models that can be chosen, their dated prices, and the counting of their tokens."""

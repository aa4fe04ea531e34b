"""From a text to P(adequate) and output lengths per arm, and to a bundle that can be swapped."""

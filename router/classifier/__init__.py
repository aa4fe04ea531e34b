"""From a text to P(adequate) and output lengths per arm, by a bundle that can be replaced while serving."""

"""Whether recent traffic still is what a bundle was trained for."""

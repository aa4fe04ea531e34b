"""Simulation for notebooks: a bundle, prompts new to it, and traffic through the real router."""

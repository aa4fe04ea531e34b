"""What notebooks start from: a bundle, prompts new to it, and serving rehearsed on them."""

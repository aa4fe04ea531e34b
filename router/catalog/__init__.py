"""The models that can be chosen: prices with dates, and how their tokens are counted."""

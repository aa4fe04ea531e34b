"""The scale of ability: models of all histories on one scale, and what today's tiers would do."""

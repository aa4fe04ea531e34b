"""The scale of ability: models of all histories on one scale, and what today's tiers would do.

The README has a worked example; :mod:`training.scale.ability` is the model.
"""

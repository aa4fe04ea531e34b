"""How good a bundle is: figures, baselines, comparisons, and the gate in front of production."""

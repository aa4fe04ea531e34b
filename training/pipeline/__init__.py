"""From histories to a bundle: read, split, encode, fit, calibrate, evaluate, export, track."""

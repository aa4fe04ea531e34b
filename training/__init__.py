"""From a history of attempts to a bundle: label, fit, calibrate, evaluate, export, register."""

"""The commands of ``python -m training``, and the options and outputs that they share."""

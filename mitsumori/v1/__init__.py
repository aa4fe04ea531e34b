"""Generated from proto/mitsumori/v1 by `make proto`. Do not edit."""

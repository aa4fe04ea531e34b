"""Generated from proto/router/v1 by `make proto`. Do not edit."""

"""Gadgets, texts beside a prompt that make it look harder: a search for them, the fit of the guard."""

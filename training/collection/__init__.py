"""Collection: the answers of several models to a sample of real prompts, as a history."""

"""Features of a text that cost microseconds: form, kind of request, form of a question."""

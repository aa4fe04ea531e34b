"""Features of a text, computed in microseconds: its form, the kind of request, how a question is put."""

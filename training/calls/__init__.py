"""Paid calls to models: quoted before a run, held against its budget, journaled, never paid for twice."""

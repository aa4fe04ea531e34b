"""``make chaos``: many callers, a server that is killed again and again, and a proof from the rows.

plan        how long, how many callers, which limits, which seed
replicas    real `mitsumori serve` processes: start, kill -9, start again
stores      what they keep their ledger in: a SQLite file, or a real PostgreSQL that is killed too
calls       asking until there is an answer, with the same body each time
callers     what one caller does: route, settle, release, re-route, repeat itself, cheat
journal     what callers were told, one file each, on disk before they go on
proof       the rows against the invariants and against the journals
harness     all of it together, for a bounded time

A kill of a process loses nothing that the operating system has taken: what a power cut does to a disk
is not shown here.
"""

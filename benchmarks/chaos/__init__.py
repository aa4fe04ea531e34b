"""``make chaos``: many callers, a server that is killed again and again, and a proof from the rows.

Servers have TLS and ask for an API key. Besides kill -9 of servers and stores, disks are full for a while,
pipes of logs are closed, and the database stands still.

plan        how long, how many callers, which limits, which seed
replicas    real `mitsumori serve` processes: start, kill -9, start again
stores      what they keep their ledger in: a SQLite file, or a real PostgreSQL that is killed too
calls       tries until there is an answer, with the same body each time
callers     what one caller does: route, settle, release, re-route, run a task, repeat itself, cheat
agents      the tasks of a caller: confined or not, ended or left to expire
journal     the replies that callers received, one file each, on disk before they continue
proof       the rows against the invariants and against the journals
restarts    no kill: orderly restarts under the shipped client, of which no call may fail
harness     all of it together, for a bounded time

A killed process loses nothing that it has handed to the operating system, so this does not test a power cut.
"""

"""Between the protocol and the core: validate what comes in, render what goes out. Nothing else."""

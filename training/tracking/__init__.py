"""MLflow: runs, the registry, and which bundle is the champion."""

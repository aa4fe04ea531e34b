"""A guard that was fitted is read again by serving, and tells what the forest tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router.classifier.features.lexical import lexical_features
from router.classifier.gadget_guard import load_guard
from training.gadgets.guard import THRESHOLD, fit_guard, write_guard
from training.requests.request_set import read_requests


def test_a_fitted_guard_is_served_as_it_was_fitted(tmp_path: Path) -> None:
    requests = read_requests()[::25]
    fitted = fit_guard(requests, count=300)
    write_guard(fitted, tmp_path)
    guard = load_guard(tmp_path)
    assert guard.threshold == THRESHOLD
    texts = [request.prompt for request in requests[:40]]
    features = np.array([lexical_features(text) for text in texts])
    told = [guard.log_odds(one) for one in features]
    assert told == pytest.approx(fitted.forest.decision_function(features), abs=1e-4)
    assert 0 <= fitted.honest < fitted.found <= 1
